from __future__ import annotations

import pytest

from worker.drain import DrainRate


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def drain(clock: Clock) -> DrainRate:
    return DrainRate(clock)


def work(drain: DrainRate, clock: Clock, *, tasks: int, seconds_each: float) -> None:
    for _ in range(tasks):
        drain.begin()
        clock.now += seconds_each
        drain.end()


def test_nothing_is_said_before_enough_was_seen(drain: DrainRate, clock: Clock) -> None:
    work(drain, clock, tasks=9, seconds_each=1)
    assert drain.per_s() is None


def test_the_rate_is_tasks_by_time_in_work(drain: DrainRate, clock: Clock) -> None:
    work(drain, clock, tasks=100, seconds_each=0.1)
    assert drain.per_s() == pytest.approx(10, rel=0.05)


def test_idle_time_does_not_count(drain: DrainRate, clock: Clock) -> None:
    for _ in range(20):
        work(drain, clock, tasks=1, seconds_each=0.1)
        clock.now += 1000
    assert drain.per_s() == pytest.approx(10, rel=0.05)


def test_tasks_side_by_side_count_each(drain: DrainRate, clock: Clock) -> None:
    for _ in range(10):
        for _ in range(4):
            drain.begin()
        clock.now += 0.5
        for _ in range(4):
            drain.end()
    assert drain.per_s() == pytest.approx(8, rel=0.1)


def test_what_was_long_ago_fades(drain: DrainRate, clock: Clock) -> None:
    work(drain, clock, tasks=100, seconds_each=1)
    work(drain, clock, tasks=1000, seconds_each=0.1)
    assert drain.per_s() == pytest.approx(10, rel=0.1)


def test_a_worker_that_is_stuck_becomes_slow(drain: DrainRate, clock: Clock) -> None:
    work(drain, clock, tasks=100, seconds_each=0.1)
    drain.begin()
    clock.now += 200
    assert (drain.per_s() or 0) < 0.1
