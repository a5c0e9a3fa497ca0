"""`callback_url` on uploads: what is refused with the upload, and what is kept of the rest."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from redis.asyncio import Redis

from api.main import create_app
from shared.outbox import AWAITED_KEY, DUE_KEY, callback_key
from shared.settings import Settings
from tests.fakes_api import FakeSender, image_bytes
from tests.receiver import SECRET

URL = "https://example.com/hook?token=1"

Upload = Callable[..., Awaitable[httpx.Response]]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    changed = {"webhook_secret": SECRET, "webhook_limit": 3}
    return Settings(_env_file=None, **{**settings.model_dump(), **changed})


@pytest.fixture
def send(client: httpx.AsyncClient) -> Upload:
    async def post(url: str = URL, path: str = "/upload_image", files: Any = None) -> Any:
        files = files or [("file", ("photo.jpg", image_bytes()))]
        params = {"wait": "false"}
        return await client.post(path, files=files, data={"callback_url": url}, params=params)

    return post


async def test_a_callback_is_kept_with_the_upload(send: Upload, redis: Redis) -> None:
    task_id = (await send()).json()["task_id"]
    assert await redis.hgetall(callback_key(task_id)) == {b"url": URL.encode()}
    assert await redis.zrange(AWAITED_KEY, 0, -1) == [task_id.encode()]


async def test_an_empty_field_is_none(send: Upload, redis: Redis) -> None:
    assert (await send("")).status_code == 202
    assert not await redis.exists(AWAITED_KEY)


@pytest.mark.parametrize("url", ["http://example.com/", "https://127.0.0.1/", "nonsense"])
@pytest.mark.parametrize("path", ["/upload_image", "/upload_images"])
async def test_a_url_that_callbacks_may_not_have(
    send: Upload, sender: FakeSender, redis: Redis, url: str, path: str
) -> None:
    answer = await send(url, path)
    assert (answer.status_code, answer.json()["code"]) == (422, "callback_refused")
    assert not sender.jobs
    assert not await redis.keys("scratch:*")


async def test_a_file_is_no_url(client: httpx.AsyncClient) -> None:
    files = {"file": image_bytes(), "callback_url": URL.encode()}
    answer = await client.post("/upload_image", files=files)
    assert answer.status_code == 400


async def test_each_file_of_a_batch_up_to_the_limit(send: Upload, redis: Redis) -> None:
    await redis.zadd(DUE_KEY, {"earlier": 1})
    files = [("files", (f"{i}.jpg", image_bytes())) for i in range(3)]
    entries = (await send(path="/upload_images", files=files)).json()["tasks"]
    assert [bool(entry["task_id"]) for entry in entries] == [True, True, False]
    assert entries[2]["problem"]["code"] == "callbacks_full"
    assert await redis.zcard(AWAITED_KEY) == 2

    answer = await send()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")


async def test_the_limit_is_for_callbacks_alone(upload: Upload, redis: Redis) -> None:
    await redis.zadd(DUE_KEY, {str(i): 1 for i in range(9)})
    assert (await upload(params={"wait": "false"})).status_code == 202


async def test_what_could_not_be_sent_is_told_to_nobody(
    send: Upload, sender: FakeSender, redis: Redis
) -> None:
    sender.fails = True
    assert (await send()).status_code == 503
    assert not await redis.keys("scratch:callback*")


@pytest.fixture
async def off(redis: Redis, sender: FakeSender) -> AsyncIterator[FastAPI]:
    app = create_app(Settings(_env_file=None), redis=redis, sender=sender)
    async with app.router.lifespan_context(app):
        yield app


async def test_without_a_secret_callbacks_are_refused(off: FastAPI) -> None:
    transport = httpx.ASGITransport(off)
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
        files = {"file": image_bytes()}
        answer = await client.post("/upload_image", files=files, data={"callback_url": URL})
    assert (answer.status_code, answer.json()["code"]) == (422, "callback_refused")
    assert "SCRATCH_WEBHOOK_SECRET" in answer.json()["detail"]
