"""What is sent again and what is given up, by the records alone, on a fake Redis."""

from __future__ import annotations

import time
from typing import Any

import fakeredis
import pytest
from kombu.exceptions import OperationalError

from shared.contract import InspectJob, Outcome
from shared.records import (
    CLAIMED_KEY,
    OPEN_KEY,
    SENT_KEY,
    SWEEPER_KEY,
    read_result,
    result_key,
    task_key,
)
from worker.sweeper import Sweeper

NOW = 10_000.0


class Surroundings:
    def __init__(self) -> None:
        self.redis = fakeredis.FakeRedis()
        self.sent: list[InspectJob] = []
        self.recorded: list[Outcome] = []

    def sweeper(self, resend_after_s: float = 30) -> Sweeper:
        return Sweeper(
            self.redis, self.sent.append, self.recorded.append,
            resend_after_s=resend_after_s, result_ttl_s=60,
        )  # fmt: skip

    def accept(self, task_id: str, *, sent_s_ago: float, deadline: float = NOW + 300) -> None:
        sent_at = NOW - sent_s_ago
        job = InspectJob(
            id=task_id, sha256="00", size=3, accepted_at=sent_at, deadline_at=deadline,
            sent_at=sent_at,
        )  # fmt: skip
        fields = {"accepted_at": sent_at, "deadline_at": deadline, "job": job.model_dump_json()}
        self.redis.hset(task_key(task_id), mapping=fields)
        self.redis.zadd(OPEN_KEY, {task_id: deadline})
        self.redis.zadd(SENT_KEY, {task_id: sent_at})

    def swept(self) -> list[str]:
        self.sent.clear()
        self.sweeper().sweep(now=NOW)
        return [job.id for job in self.sent]

    def failure(self, task_id: str) -> str | None:
        result: Any = read_result(self.redis.get(result_key(task_id)))
        return result and result.failure.code


@pytest.fixture
def at() -> Surroundings:
    return Surroundings()


def test_what_later_copies_have_overtaken_is_sent_again(at: Surroundings) -> None:
    # Given three silent tasks, and that a copy sent 50 s ago has been taken up
    for task_id, age in (("a", 80), ("b", 60), ("c", 40)):
        at.accept(task_id, sent_s_ago=age)
    at.redis.set(CLAIMED_KEY, NOW - 50)
    # Then the one that was sent later is still in the queue
    assert at.swept() == ["a", "b"]
    assert [job.sent_at for job in at.sent] == [NOW, NOW]
    assert at.redis.zrange(SENT_KEY, 0, -1) == [b"c", b"a", b"b"]


def test_of_a_long_queue_only_the_oldest_is_tried(at: Surroundings) -> None:
    for number in range(50):
        at.accept(f"{number:02}", sent_s_ago=100 - number)
    at.redis.set(CLAIMED_KEY, NOW - 101)
    assert at.swept() == ["00"]


def test_where_nothing_was_ever_taken_up_the_oldest_is_tried(at: Surroundings) -> None:
    at.accept("a", sent_s_ago=31)
    at.accept("b", sent_s_ago=40)
    assert at.swept() == ["b"]


def test_what_was_sent_a_moment_ago_is_left_alone(at: Surroundings) -> None:
    at.accept("a", sent_s_ago=29)
    at.redis.set(CLAIMED_KEY, NOW)
    assert at.swept() == []


def test_what_a_worker_has_just_begun_is_left_alone(at: Surroundings) -> None:
    at.accept("a", sent_s_ago=100)
    at.redis.hset(task_key("a"), "started_at", NOW - 5)
    at.redis.set(CLAIMED_KEY, NOW)
    assert at.swept() == []
    at.redis.hset(task_key("a"), "started_at", NOW - 31)  # its worker must be dead
    assert at.swept() == ["a"]


def test_what_is_sent_again_is_not_sent_at_every_sweep(at: Surroundings) -> None:
    at.accept("a", sent_s_ago=100)
    assert at.swept() == ["a"]
    assert at.swept() == []


def test_a_task_past_its_deadline_is_a_recorded_failure(at: Surroundings) -> None:
    at.accept("late", sent_s_ago=300, deadline=NOW - 3)
    at.accept("soon", sent_s_ago=10, deadline=NOW + 3)
    assert at.swept() == []
    assert at.failure("late") == "task_timed_out"
    assert at.failure("soon") is None
    assert [outcome.id for outcome in at.recorded] == ["late"]
    assert at.redis.zrange(OPEN_KEY, 0, -1) == [b"soon"]


def test_an_answer_that_came_first_is_not_overwritten_or_told_again(at: Surroundings) -> None:
    at.accept("late", sent_s_ago=300, deadline=NOW - 3)
    at.redis.set(result_key("late"), "an answer")
    at.swept()
    assert at.redis.get(result_key("late")) == b"an answer"
    assert at.recorded == []


@pytest.mark.parametrize("job", [None, "{}", "no json"])
def test_a_record_that_cannot_be_read_is_a_recorded_failure(
    at: Surroundings, job: str | None
) -> None:
    at.accept("a", sent_s_ago=100)
    at.redis.hdel(task_key("a"), "job")
    if job:
        at.redis.hset(task_key("a"), "job", job)
    assert at.swept() == []
    assert at.failure("a") == "bad_message"


def test_what_could_not_be_sent_is_tried_at_the_next_sweep(at: Surroundings) -> None:
    at.accept("a", sent_s_ago=100)

    def fail(_: InspectJob) -> None:
        raise OperationalError

    sweeper = Sweeper(at.redis, fail, at.recorded.append, resend_after_s=30, result_ttl_s=60)
    with pytest.raises(OperationalError):
        sweeper.sweep(now=NOW)
    assert at.swept() == ["a"]


def test_one_sweeps_at_a_time_and_another_takes_over(at: Surroundings) -> None:
    first, second = at.sweeper(), at.sweeper()
    assert first._lease.is_ours() and not second._lease.is_ours() and first._lease.is_ours()
    assert 0 < at.redis.pttl(SWEEPER_KEY) <= 15_000
    at.redis.delete(SWEEPER_KEY)  # as when its holder has been silent for so long
    assert second._lease.is_ours() and not first._lease.is_ours()


def test_the_thread_sweeps_and_survives_a_redis_that_is_away(at: Surroundings) -> None:
    at.accept("a", sent_s_ago=0, deadline=time.time() - 100)
    sweeper = at.sweeper(resend_after_s=0.3)
    real, fails = sweeper.sweep, 2

    def flaky(*, now: float) -> None:
        nonlocal fails
        fails -= 1
        if fails >= 0:
            raise ConnectionError
        real(now=now)

    sweeper.sweep = flaky  # type: ignore[method-assign]
    sweeper.start()
    give_up_at = time.monotonic() + 30
    while not at.recorded and time.monotonic() < give_up_at:
        time.sleep(0.02)
    sweeper.close()
    assert at.failure("a") == "task_timed_out"
