from __future__ import annotations

import asyncio
import hashlib
import time

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from api.results import ResultWaiter
from api.service import InspectionService
from shared.errors import (
    BrokerUnavailable,
    EmptyUpload,
    Overloaded,
    TaskNotCancellable,
    TaskNotFound,
    UnsupportedImage,
)
from shared.intake import Intake
from shared.records import OPEN_KEY, result_key, task_key, upload_key
from tests.fakes_api import image_bytes, outcome


@pytest.fixture
def intake(redis):
    return Intake(redis, record_ttl_s=600, result_ttl_s=300)


@pytest.fixture
async def service(settings, redis, intake, sender):
    async with ResultWaiter(redis, sweep_s=0.05) as results:
        yield InspectionService(settings, intake, sender, results)


async def test_a_submitted_image_is_stored_recorded_and_sent(service, sender, redis, settings):
    image = image_bytes()
    job = await service.submit(image)
    assert sender.jobs == [job]
    assert job.sha256 == hashlib.sha256(image).hexdigest()
    assert job.size == len(image)
    assert job.deadline_at - job.accepted_at == pytest.approx(settings.task_deadline_s)
    assert await redis.get(upload_key(job.id)) == image
    assert 0 < await redis.ttl(upload_key(job.id)) <= settings.task_deadline_s + 1
    assert await redis.exists(task_key(job.id))
    assert (await service.load()).open_tasks == 1


async def test_every_task_has_an_id_of_its_own(service):
    jobs = [await service.submit(image_bytes()) for _ in range(3)]
    assert len({job.id for job in jobs}) == 3


@pytest.mark.parametrize(("image", "error"), [(b"", EmptyUpload), (b"text", UnsupportedImage)])
async def test_a_refused_image_leaves_nothing(service, redis, image, error):
    with pytest.raises(error):
        await service.submit(image)
    assert not await redis.keys("*")


async def test_the_bound_of_the_queue(service, redis, settings):
    for _ in range(settings.queue_limit):
        await service.submit(image_bytes())
    for refused in (service.admit(), service.submit(image_bytes()), service.inspect(b"", 1)):
        with pytest.raises(Overloaded):
            await refused
    assert await redis.zcard(OPEN_KEY) == settings.queue_limit


async def test_subscribed_before_the_task_is_sent(service, sender, redis):
    async def subscribers(job):
        ((_, count),) = await redis.pubsub_numsub(result_key(job.id))
        assert count == 1
        raise BrokerUnavailable

    sender.then = subscribers
    with pytest.raises(BrokerUnavailable):
        await service.inspect(image_bytes(), 5)


async def test_inspect_gives_the_outcome(service, sender, worker):
    sender.then = lambda job: worker.finish(outcome(job.id))
    inspection = await service.inspect(image_bytes(), 5)
    assert inspection.result == outcome(inspection.task_id)


async def test_inspect_gives_a_lost_publication(service, sender, worker):
    sender.then = lambda job: worker.finish_unheard(outcome(job.id))
    assert (await service.inspect(image_bytes(), 5)).result


async def test_inspect_without_an_answer_leaves_the_task(service, redis):
    inspection = await service.inspect(image_bytes(), 0.01)
    assert inspection.result is None
    assert (await service.task(inspection.task_id)).result is None
    assert await redis.exists(upload_key(inspection.task_id))


@pytest.mark.parametrize("wait_s", [0, 5])
async def test_what_cannot_be_sent_is_withdrawn(service, sender, redis, wait_s):
    sender.fails = True
    with pytest.raises(BrokerUnavailable):
        await service.inspect(image_bytes(), wait_s)
    assert not await redis.keys("scratch:*")


async def test_redis_may_be_away_for_the_withdrawal_too(service, sender, intake, monkeypatch):
    async def away(*_: object) -> None:
        raise RedisConnectionError("away")

    sender.fails = True
    monkeypatch.setattr(intake, "withdraw", away)
    with pytest.raises(BrokerUnavailable):
        await service.submit(image_bytes())


async def test_what_cannot_be_stored_is_not_sent(service, sender, intake, monkeypatch):
    async def away(*_: object) -> None:
        raise RedisConnectionError("away")

    monkeypatch.setattr(intake, "accept", away)
    with pytest.raises(BrokerUnavailable):
        await service.submit(image_bytes())
    assert not sender.jobs


async def test_two_poll_one_task(service, worker):
    job = await service.submit(image_bytes())
    polls = [asyncio.create_task(service.wait_for(job.id, 5)) for _ in range(2)]
    await asyncio.sleep(0.02)
    await worker.finish(outcome(job.id))
    for state in await asyncio.gather(*polls):
        assert state.result == outcome(job.id)


async def test_cancel(service, worker):
    with pytest.raises(TaskNotFound):
        await service.cancel("0" * 32)
    job = await service.submit(image_bytes())
    for _ in range(2):
        record = await service.cancel(job.id)
        assert record.failure and record.failure.code == "task_cancelled"
    done = await service.submit(image_bytes())
    await worker.finish(outcome(done.id))
    with pytest.raises(TaskNotCancellable):
        await service.cancel(done.id)


async def test_cancelling_wakes_who_waits(service):
    job = await service.submit(image_bytes())
    wait = asyncio.create_task(service.wait_for(job.id, 30))
    await asyncio.sleep(0.02)
    await service.cancel(job.id)
    assert (await wait).failure.code == "task_cancelled"


async def test_what_was_told_as_timed_out_stays_so(service, redis, worker):
    job = await service.submit(image_bytes())
    await redis.hset(task_key(job.id), "deadline_at", time.time() - 16)
    assert (await service.task(job.id)).failure.code == "task_timed_out"
    assert not await redis.set(result_key(job.id), "a late answer", nx=True)
    assert not await redis.exists(upload_key(job.id))
