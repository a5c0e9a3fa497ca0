"""A container's probe finds its own worker, by the clock of Redis."""

from __future__ import annotations

import fakeredis
import pytest

from shared.records import WORKERS_KEY, Heartbeat
from shared.settings import Settings
from worker import health


@pytest.fixture
def redis(monkeypatch: pytest.MonkeyPatch) -> fakeredis.FakeRedis:
    client = fakeredis.FakeRedis()
    monkeypatch.setattr(health.Redis, "from_url", lambda *_, **__: client)
    return client


def beat(redis: fakeredis.FakeRedis, name: str, age_s: float = 0) -> None:
    seconds, micros = redis.time()
    at = seconds + micros / 1e6 - age_s
    heartbeat = Heartbeat(name=name, model="m@1", variant="v", pid=1, beat_at=at)
    redis.hset(WORKERS_KEY, name, heartbeat.model_dump_json())


def test_a_worker_that_beats_is_healthy(redis: fakeredis.FakeRedis) -> None:
    beat(redis, "celery@box")

    assert health.beats(Settings(_env_file=None), "box")


def test_silence_strangers_and_rubbish_are_not(redis: fakeredis.FakeRedis) -> None:
    beat(redis, "celery@box", age_s=60)
    beat(redis, "celery@otherbox")
    redis.hset(WORKERS_KEY, "rubbish", "of another version")

    assert not health.beats(Settings(_env_file=None), "box")
