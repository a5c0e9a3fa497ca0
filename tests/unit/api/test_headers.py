"""Every answer, also an error's: the same safe headers; HEAD says what GET would."""

from __future__ import annotations

import pytest

from api.service import InspectionService


@pytest.mark.parametrize("url", ["/healthz", "/docs", "/docs/start.js", "/nope", "/tasks/1"])
async def test_every_answer_is_guarded(client, url):
    headers = (await client.get(url)).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["content-security-policy"].startswith("default-src 'none'; ")
    assert "unsafe" not in headers["content-security-policy"]


async def test_also_an_answer_to_what_nobody_expected(client, monkeypatch, upload):
    async def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(InspectionService, "admit", broken)
    response = await upload()
    assert response.status_code == 500
    assert response.headers["content-security-policy"].startswith("default-src 'none'; ")
    assert response.headers["cache-control"] == "no-store"


async def test_only_pages_may_load_anything(client):
    page = (await client.get("/docs")).headers["content-security-policy"]
    data = (await client.get("/healthz")).headers["content-security-policy"]
    assert "script-src 'self'" in page
    assert "src 'self'" not in data


async def test_answers_are_not_cached_but_for_files_that_never_change(client):
    assert (await client.get("/healthz")).headers["cache-control"] == "no-store"
    assert "max-age" in (await client.get("/docs/swagger-ui.css")).headers["cache-control"]


@pytest.mark.parametrize("url", ["/healthz", "/docs", "/openapi.json", "/metrics", "/tasks/1"])
async def test_head_is_get_without_a_body(client, url):
    get, head = await client.get(url), await client.head(url)
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert head.headers["content-type"] == get.headers["content-type"]


@pytest.mark.parametrize(
    ("method", "url", "allow"),
    [
        ("HEAD", "/upload_image", "POST"),
        ("PUT", "/tasks/" + "a" * 32, "GET, DELETE, HEAD"),
        ("POST", "/healthz", "GET, HEAD"),
        ("OPTIONS", "/upload_images", "POST"),
    ],
)
async def test_a_wrong_method_is_told_the_right_ones(client, method, url, allow):
    response = await client.request(method, url)
    assert (response.status_code, response.headers["allow"]) == (405, allow)


@pytest.mark.parametrize("url", ["/upload_image/", "/healthz/", "/docs/"])
async def test_a_slash_too_many_is_no_redirect(client, url):
    assert (await client.get(url)).status_code == 404
