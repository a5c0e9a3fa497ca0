"""The api's side of what we keep in Redis: asynchronous."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import WatchError

from shared.contract import QUEUE_INSPECT, InspectJob, Outcome
from shared.errors import TaskCancelled, TaskTimedOut
from shared.outbox import Callback, call_off, order, waiting
from shared.records import (
    CONCLUDE,
    OPEN_KEY,
    SENT_KEY,
    WORKERS_KEY,
    Heartbeat,
    TaskRecord,
    conclusion,
    final_meta,
    heatmap_key,
    once_key,
    ready,
    record_of,
    result_key,
    task_key,
    upload_key,
)

#: Records an upload that has been stored, and queues its message, if there is one. Ids that are
#: older than records are kept go: where no worker has swept for long. Who did not hear the reply
#: may send it again: the second time it does nothing, and an image whose task has ended goes. Nor
#: is there anything to do where Redis had no room for the image.
#:
#: KEYS upload, task, open, sent, queue; ARGV id, accepted at, deadline, job, seconds to keep the
#: record, accepted before which ids go, ear, message
_ACCEPT = """
local known, ended = unpack(redis.call('HMGET', KEYS[2], 'accepted_at', 'finished_at'))
if ended then redis.call('UNLINK', KEYS[1]) end
if known or redis.call('EXISTS', KEYS[1]) == 0 then return end
redis.call('HSET', KEYS[2], 'accepted_at', ARGV[2], 'deadline_at', ARGV[3], 'job', ARGV[4])
if ARGV[7] ~= '' then redis.call('HSET', KEYS[2], 'ear', ARGV[7]) end
redis.call('EXPIRE', KEYS[2], ARGV[5])
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', ARGV[6])
redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', ARGV[6])
redis.call('ZADD', KEYS[3], ARGV[3], ARGV[1])
redis.call('ZADD', KEYS[4], ARGV[2], ARGV[1])
if ARGV[8] ~= '' then redis.call('LPUSH', KEYS[5], ARGV[8]) end
"""


@dataclass(frozen=True, kw_only=True)
class Backlog:
    """What is accepted and unfinished."""

    open_tasks: int
    #: messages that no worker has taken up
    queued: int
    #: when the one that is due first was accepted, unix seconds; None when nothing is open
    oldest_accepted_at: float | None


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """The task that was accepted under an idempotency key."""

    task_id: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What decides whether one more upload can be taken."""

    open_tasks: int
    workers: list[Heartbeat]
    #: bytes until Redis is as full as we let it become; infinite where it has no bound
    memory_left: float


def _memory_left(info: Any) -> float:
    """Nine tenths are for uploads: a Redis that is full cannot even store a result."""
    if not isinstance(info, dict) or not info.get("maxmemory"):  # or we may not ask: an ACL
        return math.inf
    return float(info["maxmemory"] * 0.9 - info["used_memory"])


class Intake:
    def __init__(
        self,
        redis: Redis,
        *,
        record_ttl_s: int,
        result_ttl_s: int,
        queue_entry: Callable[[InspectJob], str] | None = None,
    ) -> None:
        """`queue_entry` where the queue is in this Redis: then what is accepted is queued, too."""
        self._redis = redis
        self._queue_entry = queue_entry
        self._record_ttl_s = record_ttl_s
        self._result_ttl_s = result_ttl_s

    async def accept(
        self,
        job: InspectJob,
        image: bytes,
        *,
        once: str | None = None,
        ear: str | None = None,
        callback: Callback | None = None,
    ) -> Earlier | None:
        """Stores the image and the record, or finds that this was done under `once` before.

        The answer will also be published on the channel `ear`. One round trip without `once`;
        with it, several and no gap between looking and storing.
        """
        if not (once or callback):
            async with self._redis.pipeline(transaction=False) as pipe:
                self._accept(pipe, job, image, ear)
                await pipe.execute()
            return None
        async with self._redis.pipeline(transaction=True) as pipe:
            while True:
                if once:
                    await pipe.watch(once_key(once))
                    earlier = await self._earlier(once)
                    if earlier:
                        # Our own, where only the reply was lost.
                        return None if earlier.task_id == job.id else earlier
                    pipe.multi()  # type: ignore[no-untyped-call]
                    pipe.set(once_key(once), f"{job.id} {job.sha256}", ex=self._record_ttl_s)
                self._accept(pipe, job, image, ear)
                if callback:
                    order(pipe, job, callback)
                try:
                    await pipe.execute()
                except WatchError:
                    continue
                return None

    async def _earlier(self, once: str) -> Earlier | None:
        """None also when that task was taken back or has expired."""
        found: Any = await self._redis.get(once_key(once))
        if not found:
            return None
        task_id, sha256 = found.decode().split()
        known: Any = self._redis.hexists(task_key(task_id), "accepted_at")
        return Earlier(task_id=task_id, sha256=sha256) if await known else None

    def _accept(self, pipe: Pipeline, job: InspectJob, image: bytes, ear: str | None) -> None:
        """The image goes past the script, which would copy it twice more."""
        upload = upload_key(job.id)
        pipe.set(upload, image, ex=int(job.deadline_at - job.accepted_at) + 1)
        keys = [upload, task_key(job.id), OPEN_KEY, SENT_KEY, QUEUE_INSPECT]
        arguments: list[str | float] = [
            job.id,
            job.accepted_at,
            job.deadline_at,
            job.model_dump_json(),
            self._record_ttl_s,
            job.accepted_at - self._record_ttl_s,
            ear or "",
            self._queue_entry(job) if self._queue_entry else "",
        ]
        pipe.eval(_ACCEPT, len(keys), *keys, *arguments)

    async def position(self, task_id: str) -> int | None:
        """The place of an unfinished task in the queue, from 1; those in work count."""
        ahead: Any = await self._redis.zrank(SENT_KEY, task_id)
        return None if ahead is None else int(ahead) + 1

    async def withdraw(self, task_id: str) -> None:
        """Takes back what was accepted but could not be queued."""
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.unlink(upload_key(task_id), task_key(task_id))
            pipe.zrem(OPEN_KEY, task_id)
            pipe.zrem(SENT_KEY, task_id)
            call_off(pipe, task_id)
            await pipe.execute()

    async def callbacks(self) -> int:
        """Those that wait, for an answer or for their receiver."""
        return await waiting(self._redis)

    async def record(self, task_id: str) -> TaskRecord | None:
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.hgetall(task_key(task_id))
            pipe.get(result_key(task_id))
            fields, meta = await pipe.execute()
        return record_of(task_id, fields, meta)

    async def heatmap(self, task_id: str) -> bytes | None:
        png: Any = await self._redis.get(heatmap_key(task_id))
        return bytes(png) if png else None

    async def cancel(self, task_id: str) -> bool:
        """Ends a task that has not started, and tells all who wait for it.

        False when a worker was quicker or no such task is known.
        """
        key = task_key(task_id)
        async with self._redis.pipeline(transaction=True) as pipe:
            while True:
                await pipe.watch(key)  # a claim from here on makes `execute` raise WatchError
                reply: Any = pipe.hmget(key, ["accepted_at", "started_at", "finished_at"])
                accepted, started, finished = await reply
                if not accepted or started or finished:
                    return False
                pipe.multi()  # type: ignore[no-untyped-call]
                try:
                    self._conclude(pipe, Outcome.unseen(task_id, TaskCancelled()))
                    (first,) = await pipe.execute()
                    return bool(first)
                except WatchError:
                    continue

    async def give_up(self, task_id: str) -> bool:
        """Records that a task has passed its deadline; False when it has an answer already."""
        async with self._redis.pipeline(transaction=True) as pipe:
            self._conclude(pipe, Outcome.unseen(task_id, TaskTimedOut()))
            (first,) = await pipe.execute()
        return bool(first)

    def _conclude(self, pipe: Pipeline, outcome: Outcome) -> None:
        """The reply is whether this was the first answer."""
        keys, arguments = conclusion(outcome.id, final_meta(outcome), ttl_s=self._result_ttl_s)
        pipe.eval(CONCLUDE, len(keys), *keys, *arguments)

    async def standing(self, *, now: float) -> Standing:
        """Tasks past their deadline have failed, whatever became of their message."""
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.zcount(OPEN_KEY, now, "+inf")
            pipe.time()
            pipe.hvals(WORKERS_KEY)
            pipe.info("memory")
            open_tasks, clock, beats, info = await pipe.execute(raise_on_error=False)
        for reply in (open_tasks, clock, beats):
            if isinstance(reply, Exception):
                raise reply
        return Standing(
            open_tasks=open_tasks, workers=ready(clock, beats), memory_left=_memory_left(info)
        )

    async def backlog(self, *, now: float) -> Backlog:
        """Costs the same however long the queue is."""
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.zcount(OPEN_KEY, now, "+inf")
            pipe.llen(QUEUE_INSPECT)
            pipe.zrange(OPEN_KEY, now, "+inf", byscore=True, offset=0, num=1)
            open_tasks, queued, first = await pipe.execute()
        # Not the time of its last sending: what is sent again and again must look old.
        accepted: Any = None
        if first:
            reply: Any = self._redis.hget(task_key(first[0].decode()), "accepted_at")
            accepted = await reply
        return Backlog(
            open_tasks=open_tasks,
            queued=queued,
            oldest_accepted_at=float(accepted) if accepted else None,
        )

    async def ready_workers(self) -> list[Heartbeat]:
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.time()
            pipe.hvals(WORKERS_KEY)
            return ready(*await pipe.execute())
