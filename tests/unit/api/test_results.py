from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from api import results
from api.results import ResultWaiter
from shared.contract import Failure
from shared.records import RESULT_PREFIX, result_key, task_key
from tests.fakes_api import outcome

LONG_S = 30.0


@pytest.fixture
async def waiter(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ResultWaiter]:
    """It never sweeps on its own: what arrives was published."""
    monkeypatch.setattr("api.subscription._CONFIRM_S", LONG_S)
    async with ResultWaiter(redis, sweep_s=3600) as waiter:
        yield waiter


async def subscribers(redis: Redis, task_id: str) -> int:
    ((_, count),) = await redis.pubsub_numsub(result_key(task_id))
    return count


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(LONG_S):
        while not await condition():
            await asyncio.sleep(0.005)


async def test_a_published_result_arrives(waiter, worker, redis):
    with waiter.subscribed("a") as subscription:
        await subscription.confirmed()
        assert await subscribers(redis, "a") == 1
        assert waiter.waiting == 1
        await worker.finish(outcome("a"))
        assert await subscription.result(LONG_S) == outcome("a")
    assert waiter.waiting == 0
    await until(lambda: _is(subscribers(redis, "a"), 0))


async def test_the_answer_of_a_task_that_names_our_ear_arrives_without_a_channel(
    waiter, worker, redis
):
    await until(lambda: _listens(redis, waiter.ear))
    await redis.hset(task_key("a"), "ear", waiter.ear)
    with waiter.heard("a") as subscription:
        await worker.finish(outcome("a"))
        assert await subscription.result(LONG_S) == outcome("a")
        assert await subscribers(redis, "a") == 0
    assert waiter.waiting == 0


@pytest.mark.parametrize("noise", ["", "no json", "[]", '{"task_id": 7}', '{"status": "SUCCESS"}'])
async def test_noise_on_our_ear_harms_nobody(waiter, worker, redis, noise):
    await until(lambda: _listens(redis, waiter.ear))
    await redis.publish(waiter.ear, noise)
    await redis.hset(task_key("a"), "ear", waiter.ear)
    with waiter.heard("a") as subscription:
        await worker.finish(outcome("a"))
        assert await subscription.result(LONG_S) == outcome("a")


async def _listens(redis: Redis, channel: str) -> bool:
    ((_, count),) = await redis.pubsub_numsub(channel)
    return bool(count)


async def _is(question: Awaitable[int], answer: int) -> bool:
    return await question == answer


async def test_many_wait_on_one_connection(waiter, worker, redis):
    async def one(task_id: str) -> None:
        with waiter.subscribed(task_id) as subscription:
            await subscription.confirmed()
            assert await subscription.result(LONG_S) == outcome(task_id)

    ids = [f"task{number}" for number in range(300)]
    waits = [asyncio.create_task(one(task_id)) for task_id in ids]
    await until(lambda: _is(_channels(redis), len(ids)))
    for task_id in ids:
        await worker.finish(outcome(task_id))
    await asyncio.gather(*waits)
    assert waiter.waiting == 0
    await until(lambda: _is(_channels(redis), 0))


async def _channels(redis: Redis) -> int:
    return len(await redis.pubsub_channels(f"{RESULT_PREFIX}*"))


async def test_two_wait_for_one_task(waiter, worker, redis):
    with waiter.subscribed("a") as second:
        with waiter.subscribed("a") as first:
            await first.confirmed()
            await second.confirmed()
            assert waiter.waiting == 2
        await asyncio.sleep(0.02)
        assert await subscribers(redis, "a") == 1
        await worker.finish(outcome("a"))
        assert await second.result(LONG_S) == outcome("a")


async def test_a_latecomer_is_confirmed_at_once(waiter):
    with waiter.subscribed("a") as first:
        await first.confirmed()
        with waiter.subscribed("a") as second:
            async with asyncio.timeout(LONG_S / 2):
                await second.confirmed()


async def test_the_same_task_again(waiter, worker, redis):
    for _ in range(3):
        with waiter.subscribed("a") as subscription:
            await subscription.confirmed()
            await worker.publish("a", worker.meta(outcome("a")))
            assert await subscription.result(LONG_S) == outcome("a")
        await until(lambda: _is(subscribers(redis, "a"), 0))


async def test_a_cancelled_wait_leaves_no_subscription(waiter, redis):
    async def wait() -> None:
        with waiter.subscribed("a") as subscription:
            await subscription.confirmed()
            await subscription.result(LONG_S)

    task = asyncio.create_task(wait())
    await until(lambda: _is(subscribers(redis, "a"), 1))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert waiter.waiting == 0
    await until(lambda: _is(subscribers(redis, "a"), 0))


@pytest.mark.parametrize("status", ["STARTED", "PENDING", "RETRY", "whatever"])
async def test_what_is_not_final_is_ignored(waiter, worker, status):
    with waiter.subscribed("a") as subscription:
        await subscription.confirmed()
        await worker.publish("a", json.dumps({"status": status, "result": None}))
        assert await subscription.result(0.03) is None
        await worker.finish(outcome("a"))
        assert await subscription.result(LONG_S) == outcome("a")


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (json.dumps({"status": "FAILURE", "result": {"exc_type": "Evil"}}), "internal_error"),
        (json.dumps({"status": "REVOKED"}), "task_cancelled"),
        (json.dumps({"status": "SUCCESS", "result": {"pred": "?"}}), "bad_message"),
    ],
)
async def test_failures_are_data(waiter, worker, message, code):
    with waiter.subscribed("a") as subscription:
        await subscription.confirmed()
        await worker.publish("a", message)
        result = await subscription.result(LONG_S)
        assert isinstance(result, Failure)
        assert result.code == code


@pytest.mark.parametrize(
    "message", [b"\xff\xfe", b"{", b"[1]", b"3", b"null", b'"x"', b"[" * 100_000, b'{"status": {}}']
)
async def test_nonsense_does_not_end_the_listener(waiter, worker, message):
    with waiter.subscribed("nonsense") as first:
        await first.confirmed()
        await worker.publish("nonsense", message)
        with waiter.subscribed("a") as subscription:
            await subscription.confirmed()
            await worker.finish(outcome("a"))
            assert await subscription.result(LONG_S) == outcome("a")


async def test_the_sweep_finds_what_was_not_heard(redis, worker):
    async with ResultWaiter(redis, sweep_s=0.02) as waiter:
        with waiter.subscribed("a") as first, waiter.subscribed("b") as second:
            await first.confirmed()
            await worker.finish_unheard(outcome("a"))
            assert await first.result(LONG_S) == outcome("a")
            assert not second.future.done()


async def test_the_last_look_at_the_end_of_the_wait(waiter, worker):
    with waiter.subscribed("a") as subscription:
        await subscription.confirmed()
        await worker.finish_unheard(outcome("a"))
        assert await subscription.result(0.01) == outcome("a")


async def test_a_sweep_without_redis_is_tried_again(redis, worker, monkeypatch):
    answer = redis.mget
    asked = 0

    async def mget(keys: list[str]) -> list[bytes | None]:
        nonlocal asked
        asked += 1
        if asked < 3:
            raise RedisConnectionError("away")
        return await answer(keys)

    monkeypatch.setattr(redis, "mget", mget)
    await worker.finish_unheard(outcome("a"))
    async with ResultWaiter(redis, sweep_s=0.01) as waiter:
        with waiter.subscribed("a") as subscription:
            assert await subscription.result(LONG_S) == outcome("a")
    assert asked >= 3


async def test_the_listener_comes_back_after_a_lost_connection(redis, worker, monkeypatch):
    async def lost(**_: object) -> None:
        raise RedisConnectionError("lost")

    monkeypatch.setattr(results, "_BACKOFF_S", 0.01)
    opened, channels = redis.pubsub, []

    def pubsub() -> object:
        channels.append(opened())
        if len(channels) < 4:
            monkeypatch.setattr(channels[-1], "get_message", lost)
        return channels[-1]

    monkeypatch.setattr(redis, "pubsub", pubsub)
    async with ResultWaiter(redis, sweep_s=3600) as waiter:
        with waiter.subscribed("a") as subscription:
            await subscription.confirmed()
            await worker.finish(outcome("a"))
            assert await subscription.result(LONG_S) == outcome("a")
    assert len(channels) == 4


@pytest.fixture
def sessions(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every pub/sub connection that was opened."""
    opened: list[object] = []
    pubsub = redis.pubsub
    monkeypatch.setattr(redis, "pubsub", lambda: opened.append(1) or pubsub())
    return opened


async def test_silence_ends_a_session(redis, sessions, monkeypatch):
    monkeypatch.setattr(results, "_DEAD_S", 0.02)
    monkeypatch.setattr(results, "_BACKOFF_S", 0.01)
    async with ResultWaiter(redis, sweep_s=3600), asyncio.timeout(LONG_S):
        while len(sessions) < 3:
            await asyncio.sleep(0.01)


async def test_pings_keep_an_idle_session(redis, sessions, monkeypatch):
    heard, hear = [], ResultWaiter._hear

    def listening(waiter: ResultWaiter, message: dict[str, object]) -> None:
        heard.append(message["type"])
        hear(waiter, message)

    monkeypatch.setattr(ResultWaiter, "_hear", listening)
    monkeypatch.setattr(results, "_PING_S", 0.01)
    monkeypatch.setattr(results, "_BACKOFF_S", 0.01)
    async with ResultWaiter(redis, sweep_s=3600), asyncio.timeout(LONG_S):
        while heard.count("pong") < 20:
            await asyncio.sleep(0.005)
    assert len(sessions) == 1


async def test_a_subscription_that_is_never_confirmed_is_left_to_the_sweep(redis, monkeypatch):
    monkeypatch.setattr("api.subscription._CONFIRM_S", 0.02)
    waiter = ResultWaiter(redis)  # not entered: it does not listen
    with waiter.subscribed("a") as subscription:
        await subscription.confirmed()
        assert await subscription.result(0) is None


@pytest.mark.parametrize("turns", range(12))
async def test_it_ends_whenever_it_is_told_to(redis, turns):
    async with asyncio.timeout(LONG_S):
        async with ResultWaiter(redis, sweep_s=0.001) as waiter:
            with waiter.subscribed("a"):
                for _ in range(turns):
                    await asyncio.sleep(0)
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("results")]
