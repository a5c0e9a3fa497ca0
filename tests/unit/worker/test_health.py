"""A container's probe finds its own worker, by the clock of Redis."""

from __future__ import annotations

import fakeredis
import pytest

from shared.records import WORKERS_KEY
from shared.settings import Settings
from tests.heartbeats import beat
from worker import health


@pytest.fixture
def redis(monkeypatch: pytest.MonkeyPatch) -> fakeredis.FakeRedis:
    client = fakeredis.FakeRedis()
    monkeypatch.setattr(health.Redis, "from_url", lambda *_, **__: client)
    return client


def test_a_worker_that_beats_is_healthy(redis: fakeredis.FakeRedis) -> None:
    beat(redis, "celery@box")

    assert health.beats(Settings(_env_file=None), "box")


def test_silence_strangers_and_rubbish_are_not(redis: fakeredis.FakeRedis) -> None:
    beat(redis, "celery@box", age_s=60)
    beat(redis, "celery@otherbox")
    redis.hset(WORKERS_KEY, "rubbish", "of another version")

    assert not health.beats(Settings(_env_file=None), "box")
