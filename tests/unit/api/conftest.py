"""One app on a fake Redis, a fake sender and a client that speaks ASGI."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import fakeredis
import httpx
import pytest
from fastapi import FastAPI
from redis.asyncio import Redis

from api.main import create_app
from shared.contract import Failure, InspectJob
from shared.records import WORKERS_KEY, Heartbeat
from shared.settings import Settings
from tests.fakes_api import FakeSender, FakeWorker, image_bytes, outcome


@pytest.fixture
async def redis() -> AsyncIterator[Redis]:
    client = fakeredis.FakeAsyncRedis(server=fakeredis.FakeServer())
    yield client
    await client.aclose()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        _env_file=None,
        data_dir=tmp_path,
        wait_s=5,
        wait_max_s=6,
        upload_max_bytes=20_000,
        batch_max_files=4,
        image_max_pixels=1_000_000,
        image_max_side=2_000,
        queue_limit=5,
        task_deadline_s=300,
    )


@pytest.fixture
def sender() -> FakeSender:
    return FakeSender()


@pytest.fixture
def worker(redis: Redis) -> FakeWorker:
    return FakeWorker(redis)


@pytest.fixture
def beating(redis: Redis) -> Callable[..., Awaitable[None]]:
    """A worker that has just said that it is ready, and how fast it is."""

    async def beat(per_s: float | None = None) -> None:
        seconds, micros = await redis.time()
        now = seconds + micros / 1e6
        heartbeat = Heartbeat(name="w", model="m", variant="v", pid=1, beat_at=now, per_s=per_s)
        await redis.hset(WORKERS_KEY, "w", heartbeat.model_dump_json())

    return beat


@pytest.fixture
def answering(sender: FakeSender, worker: FakeWorker) -> Callable[..., None]:
    """Makes the fake worker finish each task as soon as it is sent."""

    def answer(failure: Failure | None = None, **fields: str) -> None:
        async def finish(job: InspectJob) -> None:
            await worker.finish(outcome(job.id, failure=failure, **fields))

        sender.then = finish

    return answer


@pytest.fixture
async def app(settings: Settings, redis: Redis, sender: FakeSender) -> AsyncIterator[FastAPI]:
    app = create_app(settings, redis=redis, sender=sender, sweep_s=0.05)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
        yield client


@pytest.fixture
def upload(client: httpx.AsyncClient) -> Callable[..., Awaitable[httpx.Response]]:
    async def post(
        image: bytes | None = None, url: str = "/upload_image", **kwargs: object
    ) -> httpx.Response:
        content = image_bytes() if image is None else image
        return await client.post(url, files={"file": ("photo.jpg", content)}, **kwargs)

    return post
