from __future__ import annotations

import asyncio
import hashlib
import time

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError

from api.results import ResultWaiter
from api.service import Inspection, InspectionService, Options
from shared.contract import QUEUE_INSPECT
from shared.errors import (
    BrokerUnavailable,
    EmptyUpload,
    KeyReused,
    Overloaded,
    StorageFull,
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
    inspection = await service.submit(image)
    (job,) = sender.jobs
    assert (inspection.task_id, inspection.position) == (job.id, 1)
    assert job.sha256 == hashlib.sha256(image).hexdigest()
    assert job.size == len(image)
    assert job.deadline_at - job.accepted_at == pytest.approx(settings.task_deadline_s)
    assert await redis.get(upload_key(job.id)) == image
    assert 0 < await redis.ttl(upload_key(job.id)) <= settings.task_deadline_s + 1
    assert await redis.exists(task_key(job.id))
    assert (await service.load()).open_tasks == 1


async def test_every_task_has_an_id_of_its_own(service):
    assert len({(await service.submit(image_bytes())).task_id for _ in range(3)}) == 3


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


async def test_the_task_names_a_channel_that_is_listened_to(service, sender, redis):
    async def look(job):
        ear = await redis.hget(task_key(job.id), "ear")
        ((_, count),) = await redis.pubsub_numsub(ear)
        assert count == 1
        raise BrokerUnavailable

    sender.then = look
    with pytest.raises(BrokerUnavailable):
        await service.inspect(image_bytes(), 5)


async def test_a_task_that_nobody_waits_for_names_no_channel(service, redis):
    inspection = await service.submit(image_bytes())
    assert not await redis.hexists(task_key(inspection.task_id), "ear")


async def test_without_a_sender_the_message_is_stored_with_the_upload(settings, redis):
    intake = Intake(redis, record_ttl_s=600, result_ttl_s=300, queue_entry=lambda job: job.id)
    async with ResultWaiter(redis, sweep_s=0.05) as results:
        service = InspectionService(settings, intake, None, results)
        inspection = await service.submit(image_bytes())
    assert await redis.lrange(QUEUE_INSPECT, 0, -1) == [inspection.task_id.encode()]


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
    async def away(*_: object, **__: object) -> None:
        raise RedisConnectionError("away")

    monkeypatch.setattr(intake, "accept", away)
    with pytest.raises(BrokerUnavailable):
        await service.submit(image_bytes())
    assert not sender.jobs


async def test_two_poll_one_task(service, worker):
    task_id = (await service.submit(image_bytes())).task_id
    polls = [asyncio.create_task(service.wait_for(task_id, 5)) for _ in range(2)]
    await asyncio.sleep(0.02)
    await worker.finish(outcome(task_id))
    for state in await asyncio.gather(*polls):
        assert state.result == outcome(task_id)


async def test_cancel(service, worker):
    with pytest.raises(TaskNotFound):
        await service.cancel("0" * 32)
    task_id = (await service.submit(image_bytes())).task_id
    for _ in range(2):
        record = await service.cancel(task_id)
        assert record.failure and record.failure.code == "task_cancelled"
    done_id = (await service.submit(image_bytes())).task_id
    await worker.finish(outcome(done_id))
    with pytest.raises(TaskNotCancellable):
        await service.cancel(done_id)


async def test_cancelling_wakes_who_waits(service):
    task_id = (await service.submit(image_bytes())).task_id
    wait = asyncio.create_task(service.wait_for(task_id, 30))
    await asyncio.sleep(0.02)
    await service.cancel(task_id)
    assert (await wait).failure.code == "task_cancelled"


async def test_what_was_told_as_timed_out_stays_so(service, redis, worker):
    task_id = (await service.submit(image_bytes())).task_id
    await redis.hset(task_key(task_id), "deadline_at", time.time() - 16)
    assert (await service.task(task_id)).failure.code == "task_timed_out"
    assert not await redis.set(result_key(task_id), "a late answer", nx=True)
    assert not await redis.exists(upload_key(task_id))


async def test_one_key_one_task(service, sender, worker):
    once = Options(once="k")
    first = await service.inspect(image_bytes(), 0, once)
    await worker.finish(outcome(first.task_id))
    again = await service.inspect(image_bytes(), 5, once)
    assert again == Inspection(task_id=first.task_id, result=outcome(first.task_id))
    assert len(sender.jobs) == 1
    assert (await service.submit(image_bytes(), Options(once="another"))).task_id != first.task_id


async def test_a_key_stands_for_one_image(service, sender):
    await service.submit(image_bytes(), Options(once="k"))
    with pytest.raises(KeyReused):
        await service.submit(image_bytes(size=(9, 9)), Options(once="k"))
    assert len(sender.jobs) == 1


async def test_many_at_once_with_one_key_are_one_task(service, sender, redis):
    answers = await asyncio.gather(
        *(service.submit(image_bytes(), Options(once="k")) for _ in range(20))
    )
    assert len({answer.task_id for answer in answers}) == len(sender.jobs) == 1
    assert len(await redis.keys("scratch:task:*")) == 1


async def test_what_could_not_be_queued_may_be_sent_again_with_its_key(service, sender):
    sender.fails = True
    with pytest.raises(BrokerUnavailable):
        await service.submit(image_bytes(), Options(once="k"))
    sender.fails = False
    again = await service.submit(image_bytes(), Options(once="k"))
    assert again.task_id == sender.jobs[0].id


async def test_a_deadline_shortens_what_the_settings_say(service, sender):
    await service.submit(image_bytes(), Options(deadline_s=20))
    await service.submit(image_bytes(), Options(deadline_s=1e6))
    lives = [job.deadline_at - job.accepted_at for job in sender.jobs]
    assert lives == pytest.approx([20, 300])


async def test_a_client_that_goes_takes_its_task_back(service, redis, sender):
    request = asyncio.create_task(service.inspect(image_bytes(), 30))
    while not sender.jobs:
        await asyncio.sleep(0.01)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    (job,) = sender.jobs
    assert (await service.task(job.id)).failure.code == "task_cancelled"
    assert not await redis.exists(upload_key(job.id), OPEN_KEY)


async def test_a_batch_that_is_cut_off_is_taken_back(service, sender):
    async def batch() -> None:
        task_ids: list[str] = []
        async with service.taken_back(task_ids, Options()):
            for _ in range(3):
                task_ids.append((await service.submit(image_bytes())).task_id)
            await asyncio.sleep(60)

    request = asyncio.create_task(batch())
    while len(sender.jobs) < 3:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    codes = [(await service.task(job.id)).failure.code for job in sender.jobs]
    assert codes == ["task_cancelled"] * 3


async def test_a_task_that_has_begun_goes_on_without_its_client(service, redis, sender):
    request = asyncio.create_task(service.inspect(image_bytes(), 30))
    while not sender.jobs:
        await asyncio.sleep(0.01)
    await redis.hset(task_key(sender.jobs[0].id), "started_at", time.time())
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert (await service.task(sender.jobs[0].id)).result is None


async def test_nobody_waits_for_what_comes_only_long_after(service, redis, beating):
    await beating(per_s=0.001)
    inspection = await asyncio.wait_for(service.inspect(image_bytes(), 60), 30)
    assert (inspection.result, inspection.position, inspection.eta_ms) == (None, 1, 1_000_000)


async def test_a_redis_that_is_full_is_told(service, intake, monkeypatch):
    async def full(*_: object, **__: object) -> None:
        raise OutOfMemoryError("used memory > 'maxmemory'")

    monkeypatch.setattr(intake, "accept", full)
    with pytest.raises(StorageFull):
        await service.submit(image_bytes())


async def test_with_a_key_of_its_own_a_client_may_come_back(service, sender):
    options = Options(once="k")
    request = asyncio.create_task(service.inspect(image_bytes(), 30, options))
    while not sender.jobs:
        await asyncio.sleep(0.01)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert (await service.task(sender.jobs[0].id)).result is None
