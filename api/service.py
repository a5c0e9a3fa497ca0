"""What the service does with an image and with a task; knows nothing of HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import math
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

from redis.exceptions import OutOfMemoryError, RedisError

from api.capacity import Capacity
from api.results import ResultWaiter
from api.sender import Sender
from api.subscription import Result
from shared.contract import InspectJob
from shared.errors import (
    BrokerUnavailable,
    CallbacksFull,
    EmptyUpload,
    HeatmapNotFound,
    KeyReused,
    StorageFull,
    TaskCancelled,
    TaskNotCancellable,
    TaskNotFound,
    Unavailable,
)
from shared.images import check_header
from shared.intake import Intake
from shared.outbox import Callback
from shared.records import Heartbeat, TaskRecord
from shared.settings import Settings

T = TypeVar("T")

#: a task without an answer so long after its deadline has failed; by then a worker's sweeper has
#: said so, if there is a worker
_OVERDUE_S = 15.0
#: bytes that are hashed in a third of a millisecond, about what a thread would cost
_LARGE = 2**19
#: readiness and metrics answer within this, also when Redis is a black hole
_PROBE_S = 1.2


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What came of an upload that was waited for; `result` is None while the task goes on."""

    task_id: str
    result: Result | None
    #: in the queue, from 1, those in work included; None when it is answered or nobody can tell
    position: int | None = None
    #: until the answer, by how fast the workers have been of late
    eta_ms: int | None = None


@dataclass(frozen=True, kw_only=True)
class Options:
    """How an upload is to be treated."""

    #: also keep where the evidence lies
    explain: bool = False
    #: of client and idempotency key: an upload that was accepted under it is not accepted again
    once: str | None = None
    #: seconds after which the answer is worth nothing, if that is before the settings' deadline
    deadline_s: float | None = None
    #: see InspectJob
    client: str = ""
    #: gets the answer; checked by `shared.callbacks`
    callback_url: str = ""

    def calling(self, callback_url: str) -> Options:
        return replace(self, callback_url=callback_url) if callback_url else self

    def of_part(self, index: int) -> Options:
        """Those of one file in a request with many."""
        return replace(self, once=f"{self.once}:{index}") if self.once else self


_PLAIN = Options()


@dataclass(frozen=True, kw_only=True)
class Load:
    """What the service has to do, and who is there to do it. NaN: Redis could not be asked."""

    redis_up: bool = False
    open_tasks: float = math.nan
    queued: float = math.nan
    #: seconds since the open task that is due first was accepted; 0 when none is open
    oldest_task_s: float = math.nan
    ready_workers: float = math.nan


async def _probe(question: Awaitable[T]) -> T:
    try:
        return await asyncio.wait_for(question, _PROBE_S)
    except (RedisError, OSError) as error:
        raise BrokerUnavailable from error


class InspectionService:
    """Raises errors of `shared.errors`, and RedisError where Redis does not answer."""

    def __init__(
        self, settings: Settings, intake: Intake, sender: Sender | None, results: ResultWaiter
    ) -> None:
        """`sender` where `intake` does not queue what it accepts."""
        self._settings = settings
        self._intake = intake
        self._sender = sender
        self._results = results
        self._capacity = Capacity(intake, queue_limit=settings.queue_limit)

    async def admit(self, *, size: int = 0, deadline_s: float | None = None) -> None:
        """Raises Unavailable. To be asked before an upload's body is read."""
        await self._capacity.admit(size=size, deadline_s=deadline_s)

    async def submit(self, image: bytes, options: Options = _PLAIN) -> Inspection:
        """Queues an image. Raises EmptyUpload, KeyReused, ImageError or Unavailable."""
        job = await self._job(image, options)
        async with self.taken_back([job.id], options):
            return await self._unanswered(await self._queue(job, image, options))

    async def inspect(self, image: bytes, wait_s: float, options: Options = _PLAIN) -> Inspection:
        """Queues an image and waits for its result, unless its turn comes only long after that.

        Raises as `submit`.
        """
        if not wait_s:
            return await self.submit(image, options)
        job = await self._job(image, options)
        async with self.taken_back([job.id], options):
            return await self._answer(job, image, wait_s, options)

    @contextlib.asynccontextmanager
    async def taken_back(self, task_ids: list[str], options: Options) -> AsyncIterator[None]:
        """Cancels these tasks, unless they have begun, when what is done here is cancelled: nobody
        knows their ids, or a key to ask for them."""
        try:
            yield
        except asyncio.CancelledError:
            if not options.once:
                with contextlib.suppress(RedisError, OSError):
                    async with asyncio.timeout(_PROBE_S):
                        for task_id in task_ids:
                            await self._intake.cancel(task_id)
            raise

    async def _answer(
        self, job: InspectJob, image: bytes, wait_s: float, options: Options
    ) -> Inspection:
        result: Result | None = None
        with self._results.heard(job.id) as subscription:
            task_id = await self._queue(job, image, options, self._results.ear)
            if task_id == job.id and not self._capacity.in_vain(wait_s):
                result = await subscription.result(wait_s)
        if task_id != job.id:
            result = (await self.wait_for(task_id, wait_s)).result
        if result:
            return Inspection(task_id=task_id, result=result)
        return await self._unanswered(task_id)

    async def _unanswered(self, task_id: str) -> Inspection:
        try:
            position = await self._intake.position(task_id)
        except (RedisError, OSError):  # it is accepted all the same
            position = None
        eta_s = self._capacity.eta_s(position)
        eta_ms = None if eta_s is None else round(eta_s * 1e3)
        return Inspection(task_id=task_id, result=None, position=position, eta_ms=eta_ms)

    async def task(self, task_id: str) -> TaskRecord:
        """Raises TaskNotFound."""
        record = await self._intake.record(task_id)
        if record and record.result is None and time.time() > record.deadline_at + _OVERDUE_S:
            # Recorded, not only told: an answer that comes now must not contradict us.
            await self._intake.give_up(task_id)
            record = await self._intake.record(task_id)
        if record is None:
            raise TaskNotFound
        return record

    async def wait_for(self, task_id: str, wait_s: float) -> TaskRecord:
        """The task when it has its answer, or as it is after `wait_s`."""
        record = await self.task(task_id)
        if record.result or not wait_s:
            return record
        with self._results.subscribed(task_id) as subscription:
            await subscription.confirmed()
            record = await self.task(task_id)  # it may have ended before we subscribed
            if record.result is None:
                await subscription.result(wait_s)
                record = await self.task(task_id)
        return record

    async def finals(self, task_ids: Iterable[str]) -> AsyncIterator[tuple[str, TaskRecord | None]]:
        """Each task when it has its answer, in the order in which they get it; None: unknown."""
        waits = [asyncio.create_task(self._final(task_id)) for task_id in task_ids]
        try:
            for wait in asyncio.as_completed(waits):
                yield await wait
        finally:
            for pending in waits:
                pending.cancel()

    async def _final(self, task_id: str) -> tuple[str, TaskRecord | None]:
        """Ends: every task fails at its deadline."""
        try:
            while True:
                record = await self.wait_for(task_id, self._settings.wait_max_s)
                if record.result:
                    return task_id, record
        except TaskNotFound:
            return task_id, None

    async def heatmap(self, task_id: str) -> bytes:
        """PNG. Raises HeatmapNotFound."""
        png = await self._intake.heatmap(task_id)
        if png is None:
            raise HeatmapNotFound
        return png

    async def cancel(self, task_id: str) -> TaskRecord:
        """Raises TaskNotFound or TaskNotCancellable. Cancelling twice is no error."""
        record = await self.task(task_id)
        if record.result is None and await self._intake.cancel(task_id):
            record = await self.task(task_id)
        if record.failure is None or record.failure.code != TaskCancelled.code:
            raise TaskNotCancellable
        return record

    async def ready_workers(self) -> list[Heartbeat]:
        """Those with a loaded model. Raises BrokerUnavailable."""
        return await _probe(self._intake.ready_workers())

    async def readiness(self) -> list[Heartbeat]:
        """The ready workers. Raises Unavailable when there is none."""
        workers = await self.ready_workers()
        if not workers:
            raise Unavailable("No worker with a loaded model answers.")
        return workers

    async def load(self) -> Load:
        """For metrics: never raises."""
        now = time.time()
        try:
            backlog = await _probe(self._intake.backlog(now=now))
            workers = await self.ready_workers()
        except BrokerUnavailable:
            return Load()
        oldest = now if backlog.oldest_accepted_at is None else backlog.oldest_accepted_at
        return Load(
            redis_up=True,
            open_tasks=backlog.open_tasks,
            # Another broker has its own metrics.
            queued=math.nan if self._settings.broker_url else backlog.queued,
            oldest_task_s=max(0.0, now - oldest),
            ready_workers=len(workers),
        )

    async def _job(self, image: bytes, options: Options) -> InspectJob:
        """Looks at a large image in a thread: its hash must not hold up other requests."""
        await self.admit(size=len(image), deadline_s=options.deadline_s)
        if len(image) < _LARGE:
            sha256 = self._examine(image)
        else:
            sha256 = await asyncio.to_thread(self._examine, image)
        now = time.time()
        return InspectJob(
            id=uuid.uuid4().hex,
            sha256=sha256,
            size=len(image),
            accepted_at=now,
            deadline_at=now + min(options.deadline_s or math.inf, self._settings.task_deadline_s),
            explain=options.explain,
            ruling=True,
            client=options.client,
            sent_at=now,
        )

    def _examine(self, image: bytes) -> str:
        if not image:
            raise EmptyUpload
        check_header(
            image,
            max_pixels=self._settings.image_max_pixels,
            max_side=self._settings.image_max_side,
        )
        return hashlib.sha256(image).hexdigest()

    async def _queue(
        self, job: InspectJob, image: bytes, options: Options, ear: str | None = None
    ) -> str:
        """Accepts and sends, or neither.

        The task's id: the job's, or that of the earlier upload which this one repeats.
        """
        try:
            callback = await self._callback(options.callback_url)
            earlier = await self._intake.accept(
                job, image, once=options.once, ear=ear, callback=callback
            )
            if earlier:
                if earlier.sha256 != job.sha256:
                    raise KeyReused
                return earlier.task_id
            if self._sender:
                await self._sender.send(job)
        except (RedisError, OSError, BrokerUnavailable) as error:
            with contextlib.suppress(RedisError, OSError):
                await self._intake.withdraw(job.id)
            # A script tells it in the text of another error.
            if isinstance(error, OutOfMemoryError) or "OOM command" in str(error):
                raise StorageFull from error
            raise BrokerUnavailable from error
        self._capacity.accepted(len(image))
        return job.id

    async def _callback(self, url: str) -> Callback | None:
        """Raises CallbacksFull."""
        if not url:
            return None
        if await self._intake.callbacks() >= self._settings.webhook_limit:
            raise CallbacksFull(retry_after_s=30)
        return Callback(url=url, ttl_s=self._settings.callback_ttl_s)
