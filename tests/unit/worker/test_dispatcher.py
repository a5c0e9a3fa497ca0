"""Which callbacks are tried when, with a receiver that is played and a fake Redis."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import fakeredis
import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared.outbox import DUE_KEY, Outbox, callback_key
from worker.courier import Receipt
from worker.dispatcher import Dispatcher

TAKEN = Receipt(taken=True, why="204")
BROKEN = Receipt(taken=False, why="500")
GONE = Receipt(taken=False, why="410", final=True)


class Played:
    """Receivers that answer with `receipt`, those named in `hanging` never."""

    def __init__(self) -> None:
        self.receipt = TAKEN
        self.hanging: set[str] = set()
        self.tried: list[str] = []
        self.at_once: dict[str, int] = {}
        self.most_at_once: dict[str, int] = {}

    async def post(self, url: str, event_id: str, body: str) -> Receipt:
        self.tried.append(event_id)
        self.at_once[url] = self.at_once.get(url, 0) + 1
        self.most_at_once[url] = max(self.most_at_once.get(url, 0), self.at_once[url])
        await (asyncio.Event().wait() if url in self.hanging else asyncio.sleep(0))
        self.at_once[url] -= 1
        return self.receipt


class Surroundings:
    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.outbox = Outbox(redis)
        self.receivers = Played()
        self.counted: list[str] = []
        self.dispatcher = Dispatcher(
            self.outbox, self.receivers, retry_s=10, give_up_s=100, attempted=self.counted.append
        )

    async def due(
        self, *task_ids: str, url: str = "https://a.example/", attempts: int = 0,
        ended_s_ago: float = 0,
    ) -> None:  # fmt: skip
        now = time.time()
        for task_id in task_ids:
            fields = {"url": url, "body": "{}", "ended_at": now - ended_s_ago, "attempts": attempts}
            await self.redis.hset(callback_key(task_id), mapping=fields)
            await self.redis.zadd(DUE_KEY, {task_id: now - 1})

    async def round(self) -> None:
        await self.dispatcher.round()
        for _ in range(500):  # as many turns as attempts and their notes may need
            await asyncio.sleep(0)

    async def next_in_s(self, task_id: str) -> float | None:
        at = await self.redis.zscore(DUE_KEY, task_id)
        return None if at is None else at - time.time()


@pytest.fixture
async def at() -> AsyncIterator[Surroundings]:
    async with fakeredis.FakeAsyncRedis() as redis:
        surroundings = Surroundings(redis)
        yield surroundings
        await surroundings.dispatcher.end(0)


async def test_what_was_taken_is_done(at: Surroundings) -> None:
    await at.due("a", "b")
    await at.round()
    await at.round()
    assert at.receivers.tried == ["a", "b"]
    assert at.counted == ["sent", "sent"]
    assert await at.outbox.waiting() == 0
    assert not await at.redis.exists(callback_key("a"))


@pytest.mark.parametrize(("attempts", "longest_s"), [(0, 10), (1, 20), (3, 80)])
async def test_pauses_double(at: Surroundings, attempts: int, longest_s: float) -> None:
    at.receivers.receipt = BROKEN
    await at.due("a", attempts=attempts)
    await at.round()
    pause_s = await at.next_in_s("a")
    assert pause_s
    assert longest_s / 2 - 1 <= pause_s <= longest_s
    assert at.counted == ["failed"]


async def test_pauses_end_at_an_hour(at: Surroundings) -> None:
    at.receivers.receipt = BROKEN
    await at.due("a", attempts=10**6, ended_s_ago=-(10**6))
    await at.round()
    assert 1799 <= (await at.next_in_s("a") or 0) <= 3600


async def test_a_receiver_may_ask_for_a_longer_pause(at: Surroundings) -> None:
    at.receivers.receipt = Receipt(taken=False, why="503", retry_after_s=60)
    await at.due("a")
    began = time.time()
    await at.round()
    assert began + 60 <= (await at.redis.zscore(DUE_KEY, "a") or 0) <= time.time() + 60


@pytest.mark.parametrize(
    ("receipt", "ended_s_ago"),
    [(GONE, 0), (BROKEN, 99), (Receipt(taken=False, why="503", retry_after_s=1e9), 0)],
)
async def test_what_will_not_be_taken_is_given_up(
    at: Surroundings, receipt: Receipt, ended_s_ago: float
) -> None:
    at.receivers.receipt = receipt
    await at.due("a", ended_s_ago=ended_s_ago)
    await at.round()
    assert at.counted == ["failed", "given_up"]
    assert await at.outbox.waiting() == 0


async def test_no_log_line_has_the_path_or_the_query(
    at: Surroundings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    await at.due("a", "b", url="https://a.example:8443/secret?token=secret")
    at.receivers.receipt = BROKEN
    await at.round()
    await at.due("c", url="https://a.example:8443/secret?token=secret")
    at.receivers.receipt = GONE
    await at.round()
    lines = [str(vars(record)) for record in caplog.records]
    assert len(lines) == 3
    assert all("a.example:8443" in line and "secret" not in line for line in lines)


async def test_a_dead_receiver_holds_up_only_its_own(
    at: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.dispatcher._LATER_S", (500.0, 1500.0))  # not within this test
    # Given more callbacks to a dead receiver than are read or held at a time
    at.receivers.hanging = {"https://dead.example/"}
    await at.due(*(f"dead{i}" for i in range(1100)), url="https://dead.example/")
    await at.due("a", url="https://a.example/")
    # When
    for _ in range(3):
        await at.round()
    # Then the other has its own, and the dead one no more than its share
    assert "a" in at.receivers.tried
    assert at.counted == ["sent"]
    assert at.receivers.most_at_once["https://dead.example/"] == 6
    assert await at.outbox.waiting() == 1100
    later = await at.redis.zcount(DUE_KEY, time.time() + 1, "+inf")
    assert later == 800


async def test_one_receiver_with_many_is_served_quickly(at: Surroundings) -> None:
    await at.due(*(f"t{i}" for i in range(500)))
    for _ in range(3):
        await at.round()
    assert at.counted == ["sent"] * 500


async def test_an_attempt_that_could_not_be_noted_is_made_again(
    at: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(_: str) -> None:
        raise RedisError

    with monkeypatch.context() as patch:
        patch.setattr(at.outbox, "close", away)
        await at.due("a")
        await at.round()
    await at.round()
    assert at.receivers.tried == ["a", "a"]
    assert at.counted == ["sent"]


async def test_who_lost_the_lease_sends_no_more(at: Surroundings) -> None:
    at.receivers.hanging = {"https://a.example/"}
    await at.due(*(f"t{i:02}" for i in range(20)))
    await at.round()
    assert len(at.receivers.tried) == 6
    at.dispatcher.leads = False
    await at.dispatcher.end(0)
    assert len(at.receivers.tried) == 6
    assert await at.outbox.waiting() == 20
