"""Each client has a share of its own, by key or by address."""

from __future__ import annotations

import pytest
from limits.aio.storage import MemoryStorage
from redis.exceptions import ConnectionError as RedisConnectionError
from starlette.requests import Request

from api.fairness import RateLimiter, client_of
from shared.errors import RateLimited
from shared.keys import add_key
from shared.settings import Settings
from tests.fakes_api import image_bytes


def request(host: str, key_name: str | None = None) -> Request:
    scope = {"type": "http", "client": (host, 1), "headers": [], "state": {"key_name": key_name}}
    return Request(scope)


@pytest.mark.parametrize(
    ("host", "key", "client"),
    [
        ("192.0.2.7", None, "192.0.2.7"),
        ("192.0.2.7", "ana", "key:ana"),
        ("2001:db8:1:2:3:4:5:6", None, "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", None, "2001:db8:1:2::/64"),
        ("a socket", None, "a socket"),
    ],
)
def test_who_a_client_is(host, key, client):
    assert client_of(request(host, key)) == client


async def test_each_client_has_its_share():
    limiter = RateLimiter("3/hour", MemoryStorage())
    await limiter.spend("ana", 2)
    await limiter.spend("bo", 3)
    with pytest.raises(RateLimited) as caught:
        await limiter.spend("ana", 2)
    assert 1 <= caught.value.retry_after_s <= 3600
    await limiter.spend("ana", 1)


async def test_what_can_never_be_is_said_at_once():
    with pytest.raises(RateLimited, match="4 images at once"):
        await RateLimiter("3/hour", MemoryStorage()).spend("ana", 4)


async def test_beyond_the_limit_uploads_are_refused_and_questions_are_not(app, client, upload):
    app.state.limiter = RateLimiter("2/hour", MemoryStorage())
    answers = [await upload(params={"wait": "false"}) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [202, 202, 429]
    refused = answers[-1]
    assert refused.json()["code"] == "rate_limited"
    assert int(refused.headers["retry-after"]) >= 1
    assert (await client.get(answers[0].headers["location"])).status_code == 200


async def test_keys_do_not_share(app, settings, upload):
    app.state.limiter = RateLimiter("1/hour", MemoryStorage())
    headers = [{"X-API-Key": add_key(settings.keys_file, name)} for name in ("ana", "bo")]
    answers = [await upload(headers=h, params={"wait": "false"}) for h in headers * 2]
    assert [answer.status_code for answer in answers] == [202, 202, 429, 429]


async def test_every_file_of_a_batch_counts(app, client):
    app.state.limiter = RateLimiter("4/hour", MemoryStorage())
    files = [("files", (f"{n}.jpg", image_bytes())) for n in range(3)]
    answers = [await client.post("/upload_images", files=files) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 429]


async def test_a_limiter_without_redis_is_a_503_like_the_rest(app, upload):
    class Away:
        async def spend(self, client: str, images: int) -> None:
            raise RedisConnectionError("away")

    app.state.limiter = Away()
    response = await upload()
    assert (response.status_code, response.json()["code"]) == (503, "broker_unavailable")


@pytest.mark.parametrize(
    ("host", "limit", "found"),
    [
        ("127.0.0.1", "auto", None),
        ("0.0.0.0", "auto", "1200/minute"),
        ("0.0.0.0", "off", None),
        ("127.0.0.1", "5/second", "5/second"),
    ],
)
def test_the_default_depends_on_who_can_reach_us(host, limit, found):
    assert Settings(_env_file=None, host=host, rate_limit=limit).upload_limit == found


@pytest.mark.parametrize("limit", ["", "many", "0/minute", "5", "5/minute; 6/hour", "5/minute\n"])
def test_limits_that_mean_nothing(limit):
    with pytest.raises(ValueError, match=r"(?i)rate_limit"):
        Settings(_env_file=None, rate_limit=limit)
