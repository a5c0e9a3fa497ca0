"""What becomes of a callback in Redis, from the upload to its end; on a fake Redis."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator

import fakeredis
import pytest
from redis.asyncio import Redis

from shared.contract import InspectJob
from shared.intake import Intake
from shared.outbox import AWAITED_KEY, DUE_KEY, Callback, Outbox, callback_key
from shared.records import result_key, task_key
from tests.fakes_api import FakeWorker, outcome

URL = "https://example.com/hook?token=1"


@pytest.fixture
async def redis() -> AsyncIterator[Redis]:
    async with fakeredis.FakeAsyncRedis() as redis:
        yield redis


@pytest.fixture
def outbox(redis: Redis) -> Outbox:
    return Outbox(redis)


@pytest.fixture
def intake(redis: Redis) -> Intake:
    return Intake(redis, record_ttl_s=3900, result_ttl_s=3600)


async def accept(intake: Intake, task_id: str, *, s_ago: float = 0) -> None:
    at = time.time() - s_ago
    job = InspectJob(id=task_id, sha256="00", size=3, accepted_at=at, deadline_at=at + 300)
    await intake.accept(job, b"img", callback=Callback(url=URL, ttl_s=9000))


async def test_an_answer_makes_a_callback_due_with_the_tasks_view(
    redis: Redis, intake: Intake, outbox: Outbox
) -> None:
    for task_id in ("a", "b"):
        await accept(intake, task_id)
    await outbox.collect()
    assert await outbox.due(at_most=9) == []

    await FakeWorker(redis).finish(outcome("a"))
    await outbox.collect()

    assert await outbox.due(at_most=9) == ["a"]
    (notice,) = await outbox.notices(["a"])
    told = json.loads(notice.body)
    assert (notice.url, notice.attempts) == (URL, 0)
    assert (told["task_id"], told["status"], told["result"]["pred"]) == ("a", "done", "scratches")
    assert await intake.callbacks() == await outbox.waiting() == 2


async def test_cancelled_and_given_up_are_ends_like_any_other(
    intake: Intake, outbox: Outbox
) -> None:
    for task_id in ("a", "b"):
        await accept(intake, task_id)
    await intake.cancel("a")
    await intake.give_up("b")
    await outbox.collect()
    codes = [json.loads(n.body)["error"]["code"] for n in await outbox.notices(["a", "b"])]
    assert codes == ["task_cancelled", "task_timed_out"]


async def test_what_was_taken_back_is_told_to_nobody(intake: Intake, outbox: Outbox) -> None:
    await accept(intake, "a")
    await intake.withdraw("a")
    await outbox.collect()
    assert await outbox.waiting() == 0


async def test_a_result_that_expired_unseen_is_told_as_such(
    redis: Redis, intake: Intake, outbox: Outbox
) -> None:
    await accept(intake, "a", s_ago=400)
    await outbox.collect()  # overdue, but its end is not recorded yet
    assert await outbox.due(at_most=9) == []

    await redis.delete(task_key("a"), result_key("a"))
    await outbox.collect()
    (notice,) = await outbox.notices(["a"])
    assert json.loads(notice.body)["error"]["code"] == "task_not_found"


async def test_a_failed_attempt_is_counted_and_comes_later(
    redis: Redis, intake: Intake, outbox: Outbox
) -> None:
    await accept(intake, "a")
    await FakeWorker(redis).finish(outcome("a"))
    await outbox.collect()

    await outbox.retry("a", at=time.time() + 60)
    assert await outbox.due(at_most=9) == []
    await outbox.postpone({"a": time.time() - 1})
    assert await outbox.due(at_most=9) == ["a"]
    assert [notice.attempts for notice in await outbox.notices(["a"])] == [1]

    await outbox.close("a")
    await outbox.retry("a", at=0)  # by one that was slower: nothing comes back
    await outbox.postpone({"a": 0})
    assert await outbox.due(at_most=9) == []


async def test_what_has_expired_is_forgotten(redis: Redis, intake: Intake, outbox: Outbox) -> None:
    await accept(intake, "a")
    await accept(intake, "b")
    await FakeWorker(redis).finish(outcome("a"))
    await outbox.collect()
    await redis.delete(callback_key("a"), callback_key("b"))
    await FakeWorker(redis).finish(outcome("b"))
    await outbox.collect()
    assert await outbox.notices(await outbox.due(at_most=9)) == []
    assert await outbox.waiting() == 0


async def test_everything_expires(redis: Redis, intake: Intake) -> None:
    await accept(intake, "a")
    assert 8990 < await redis.ttl(callback_key("a")) <= 9000


async def test_an_upload_without_a_callback_leaves_no_trace_of_one(
    redis: Redis, intake: Intake
) -> None:
    job = InspectJob(id="a", sha256="00", size=3, accepted_at=0, deadline_at=300)
    await intake.accept(job, b"img")
    assert not await redis.exists(callback_key("a"), AWAITED_KEY, DUE_KEY)
