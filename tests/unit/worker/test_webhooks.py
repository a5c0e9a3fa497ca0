"""Two workers that both could send, on one fake Redis, to a real receiver."""

from __future__ import annotations

import time
from collections.abc import Iterator

import fakeredis
import pytest
from redis import Redis

from shared.outbox import DUE_KEY, SENDER_KEY, callback_key
from shared.settings import Settings
from tests.integration.service import wait_until
from tests.receiver import SECRET, Receiver, receiving
from worker.webhooks import Webhooks, open_webhooks

SETTINGS = Settings(_env_file=None, webhook_secret=SECRET, webhook_networks="127.0.0.0/8")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def redis(monkeypatch: pytest.MonkeyPatch) -> Redis:
    server = fakeredis.FakeServer()
    monkeypatch.setattr(
        "worker.webhooks.Redis.from_url", lambda *_, **__: fakeredis.FakeAsyncRedis(server=server)
    )
    return fakeredis.FakeRedis(server=server)


def make_due(redis: Redis, receiver: Receiver, *task_ids: str) -> None:
    now = time.time()
    for task_id in task_ids:
        fields = {"url": receiver.url, "body": "{}", "ended_at": now}
        redis.hset(callback_key(task_id), mapping=fields)
        redis.zadd(DUE_KEY, {task_id: now})


def test_one_sends_and_the_other_when_it_has_gone(redis: Redis, receiver: Receiver) -> None:
    told: list[str] = []
    first, second = (Webhooks(SETTINGS, told.append) for _ in range(2))
    make_due(redis, receiver, *(f"t{i}" for i in range(50)))
    first.start()
    wait_until(lambda: redis.exists(SENDER_KEY) == 1)
    leader = redis.get(SENDER_KEY)
    second.start()
    wait_until(lambda: redis.zcard(DUE_KEY) == 0)
    assert redis.get(SENDER_KEY) == leader

    first.close()
    make_due(redis, receiver, "last")
    wait_until(lambda: redis.zcard(DUE_KEY) == 0)
    second.close()

    ids = [got.headers["webhook-id"] for got in receiver.deliveries]
    assert sorted(ids) == sorted({*ids}) and len(ids) == 51
    assert told == ["sent"] * 51
    assert not redis.exists(SENDER_KEY)


def test_what_waits_is_told_while_redis_is_away_and_back(
    redis: Redis, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    server = redis.connection_pool.connection_kwargs["server"]
    webhooks = Webhooks(SETTINGS, lambda _: None)
    make_due(redis, receiver, "a")
    redis.zadd(DUE_KEY, {"a": time.time() + 3600})
    webhooks.start()
    wait_until(lambda: webhooks.waiting() == 1)
    server.connected = False
    wait_until(lambda: "callbacks not looked for" in caplog.text)
    server.connected = True
    redis.zadd(DUE_KEY, {"a": 0})
    wait_until(lambda: webhooks.waiting() == 0)
    webhooks.close()
    assert len(receiver.deliveries) == 1


def test_without_a_secret_nothing_runs() -> None:
    assert open_webhooks(Settings(_env_file=None), lambda _: None) is None
