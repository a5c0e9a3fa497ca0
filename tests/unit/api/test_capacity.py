"""When an upload is refused, and what its client is told about when to come back."""

from __future__ import annotations

import asyncio
import math
from types import SimpleNamespace

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from api.capacity import Capacity
from shared.errors import DeadlineUnreachable, Overloaded, StorageFull, Unavailable
from shared.intake import Standing
from shared.records import Heartbeat


class FakeIntake:
    def __init__(self, *, per_s: float | None = None, **fields: object) -> None:
        worker = Heartbeat(name="w", model="m", variant="v", pid=1, beat_at=0, per_s=per_s)
        values = {"open_tasks": 0, "workers": [worker, worker], "memory_left": math.inf} | fields
        self.answer = Standing(**values)
        self.asked = 0
        self.away = False
        self.lets_go = asyncio.Event()
        self.lets_go.set()

    async def standing(self, *, now: float) -> Standing:
        self.asked += 1
        await self.lets_go.wait()
        if self.away:
            raise RedisConnectionError
        return self.answer


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr("api.capacity.time.monotonic", lambda: clock.now)
    return clock


async def refusal(intake: FakeIntake, error: type[Unavailable], **request: float) -> int:
    capacity = Capacity(intake, queue_limit=100)
    with pytest.raises(error) as refused:
        await capacity.admit(**({"size": 0, "deadline_s": None} | request))
    return refused.value.retry_after_s


async def test_a_client_is_told_when_a_tenth_of_the_queue_will_be_free():
    intake = FakeIntake(open_tasks=100, per_s=0.5)  # each of two workers
    assert await refusal(intake, Overloaded) == 10


@pytest.mark.parametrize(("per_s", "retry_after_s"), [(None, 10), (1e4, 1), (1e-4, 60)])
async def test_what_a_client_is_told_is_bounded(per_s, retry_after_s):
    intake = FakeIntake(open_tasks=100, per_s=per_s)
    assert await refusal(intake, Overloaded) == retry_after_s


async def test_requests_at_a_time_share_one_look_and_count_what_they_add(clock):
    intake = FakeIntake(open_tasks=98)
    capacity = Capacity(intake, queue_limit=100)
    for _ in range(2):
        await capacity.admit(size=0, deadline_s=None)
        capacity.accepted(1000)
    with pytest.raises(Overloaded):
        await capacity.admit(size=0, deadline_s=None)
    assert intake.asked == 1


async def full_by_its_own_count(intake: FakeIntake) -> Capacity:
    capacity = Capacity(intake, queue_limit=100)
    for _ in range(100):
        await capacity.admit(size=0, deadline_s=None)
        capacity.accepted(0)
    return capacity


@pytest.mark.parametrize("full", [{"open_tasks": 100}, {"memory_left": 0}])
async def test_nobody_is_refused_for_what_has_ended_since(clock, full):
    """Half a second is long: a short queue is worked off many times in it."""
    intake = FakeIntake(**full)
    free = FakeIntake().answer
    capacity = Capacity(intake, queue_limit=100)
    with pytest.raises(Unavailable):
        await capacity.admit(size=1, deadline_s=None)
    intake.answer = free
    clock.now = 0.1
    await capacity.admit(size=1, deadline_s=None)
    assert intake.asked == 2


async def test_a_look_that_fails_forgets_nothing(clock):
    intake = FakeIntake()
    capacity = await full_by_its_own_count(intake)
    clock.now, intake.away = 0.1, True
    for _ in range(2):
        with pytest.raises(RedisConnectionError):
            await capacity.admit(size=0, deadline_s=None)
    intake.away, intake.answer = False, FakeIntake(open_tasks=100).answer
    with pytest.raises(Overloaded):
        await capacity.admit(size=0, deadline_s=None)


async def test_all_who_wait_share_a_look_whoever_hangs_up(clock):
    intake = FakeIntake()
    capacity = await full_by_its_own_count(intake)
    clock.now = 0.1
    intake.lets_go.clear()
    first, *others = (
        asyncio.create_task(capacity.admit(size=0, deadline_s=None)) for _ in range(5)
    )
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    intake.lets_go.set()
    await asyncio.gather(*others)
    assert first.cancelled()
    assert intake.asked == 2


async def test_what_does_not_fit_into_memory_is_refused(clock):
    intake = FakeIntake(memory_left=2500)
    capacity = Capacity(intake, queue_limit=100)
    for _ in range(2):
        await capacity.admit(size=1000, deadline_s=None)
        capacity.accepted(1000)
    with pytest.raises(StorageFull):
        await capacity.admit(size=1000, deadline_s=None)


async def test_a_deadline_out_of_reach_is_refused_at_once():
    intake = FakeIntake(open_tasks=59, per_s=1)  # the sixtieth is done in 30 s
    assert await refusal(intake, DeadlineUnreachable, deadline_s=14) == 16
    await Capacity(intake, queue_limit=100).admit(size=0, deadline_s=16)  # cautious by half


async def test_without_a_measured_rate_nothing_is_out_of_reach():
    capacity = Capacity(FakeIntake(open_tasks=99), queue_limit=100)
    await capacity.admit(size=0, deadline_s=0.001)
    assert capacity.eta_s(5) is None
    assert not capacity.in_vain(0.001)
