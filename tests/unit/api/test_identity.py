"""API keys at the door: who gets in, and what is open to everybody."""

from __future__ import annotations

import httpx
import pytest

from api.identity import Gate
from api.main import create_app
from shared.errors import AccessError
from shared.keys import add_key, remove_key

ID = "a" * 32
GUARDED = [
    ("POST", "/upload_image"),
    ("POST", "/upload_images"),
    ("GET", f"/tasks/{ID}"),
    ("DELETE", f"/tasks/{ID}"),
    ("GET", "/metrics"),
]


@pytest.fixture
def key(settings) -> str:
    return add_key(settings.keys_file, "ana")


def assert_refused(response: httpx.Response) -> None:
    assert (response.status_code, response.json()["code"]) == (401, "unauthorized")
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(("method", "url"), GUARDED)
async def test_without_a_key_nothing_is_done(client, key, method, url):
    assert_refused(await client.request(method, url))


@pytest.mark.parametrize("header", ["Authorization", "X-API-Key"])
async def test_a_key_in_either_header(client, key, header):
    value = f"Bearer {key}" if header == "Authorization" else key
    assert (await client.get(f"/tasks/{ID}", headers={header: value})).status_code == 404


@pytest.mark.parametrize(
    "headers",
    [
        {"X-API-Key": "wrong"},
        {"X-API-Key": ""},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic YTpi"},
        {"Authorization": b"Bearer \xff\xfe"},
        {"Cookie": "X-API-Key=wrong"},
    ],
)
async def test_anything_else_is_refused(client, key, headers):
    assert_refused(await client.get(f"/tasks/{ID}", headers=headers))


async def test_a_key_in_the_url_does_not_count(client, key):
    assert_refused(await client.get(f"/tasks/{ID}", params={"api_key": key, "X-API-Key": key}))


async def test_the_first_key_closes_the_door_and_a_removed_one_opens_it_no_more(client, settings):
    assert (await client.get(f"/tasks/{ID}")).status_code == 404
    key = add_key(settings.keys_file, "ana")
    assert_refused(await client.get(f"/tasks/{ID}"))
    assert (await client.get(f"/tasks/{ID}", headers={"X-API-Key": key})).status_code == 404
    remove_key(settings.keys_file, "ana")
    assert_refused(await client.get(f"/tasks/{ID}", headers={"X-API-Key": key}))


@pytest.mark.parametrize("url", ["/healthz", "/readyz", "/docs", "/openapi.json"])
async def test_what_is_open_to_everybody(client, key, url):
    assert (await client.get(url)).status_code != 401


async def test_every_call_that_is_described_is_guarded_but_health(client, key):
    for path, methods in (await client.get("/openapi.json")).json()["paths"].items():
        for method in methods.keys() - {"parameters"}:
            if path not in ("/healthz", "/readyz"):
                assert_refused(await client.request(method, path.replace("{task_id}", ID)))


async def test_the_body_of_a_stranger_is_not_read(client, key):
    async def body():  # type: ignore[no-untyped-def]
        pytest.fail("read")
        yield b""

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    assert_refused(await client.post("/upload_image", content=body(), headers=headers))


async def test_the_description_asks_for_a_key(client):
    paths = (await client.get("/openapi.json")).json()["paths"]
    for method, url in GUARDED:
        operation = paths[url.replace(ID, "{task_id}")][method.lower()]
        assert {"401"} <= operation["responses"].keys()
        assert len(operation["security"]) == 2
    assert "security" not in paths["/healthz"]["get"]


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.7", "::", "example.org"])
def test_other_addresses_than_loopback_need_keys_or_a_word(settings, redis, sender, host):
    far = settings.model_copy(update={"host": host})
    with pytest.raises(AccessError, match="SCRATCH_AUTH=off"):
        create_app(far, redis=redis, sender=sender)
    Gate(far.model_copy(update={"auth": "off"}))
    add_key(far.keys_file, "ana")
    Gate(far)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_needs_none(settings, host):
    assert Gate(settings.model_copy(update={"host": host})).name_of(None) is None


def test_keys_that_are_asked_for_must_be_there(settings):
    with pytest.raises(AccessError, match="no API keys"):
        Gate(settings.model_copy(update={"auth": "keys"}))


def test_off_is_off(settings, key):
    assert Gate(settings.model_copy(update={"auth": "off"})).name_of("wrong") is None
