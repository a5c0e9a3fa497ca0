"""What Redis keeps of callbacks: ordered with the upload, told once the task has its answer.

scratch:callback:{id}      hash: url; body, ended_at and attempts once there is an answer
scratch:callbacks:awaited  sorted set of ids whose tasks are open, by their deadlines
scratch:callbacks:due      sorted set of ids that have an answer to tell, by the next attempt's time
scratch:callbacks:sender   the worker that sends, for as long as it says so

An order is stored in the transaction that accepts the upload, so it is kept exactly as long as the
promise of an answer. Nothing that ends a task knows of callbacks: whoever sends them looks for the
answers of the awaited, so that every end is told, and a task without one costs nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from shared.contract import Failure, InspectJob
from shared.errors import TaskNotFound
from shared.records import TaskRecord, read_result, record_of, result_key, task_key
from shared.view import TaskView

AWAITED_KEY = "scratch:callbacks:awaited"
DUE_KEY = "scratch:callbacks:due"
SENDER_KEY = "scratch:callbacks:sender"
#: seconds after its deadline until a task without record or answer counts as expired
_GONE_S = 30.0
#: answers that are looked for in one round trip
_AT_ONCE = 500


def callback_key(task_id: str) -> str:
    return f"scratch:callback:{task_id}"


@dataclass(frozen=True, kw_only=True)
class Callback:
    """Where an upload's answer is to be sent, and how long that is tried."""

    url: str
    ttl_s: int


def order(pipe: Pipeline, job: InspectJob, callback: Callback) -> None:
    """Queues on the pipeline that accepts `job`."""
    pipe.hset(callback_key(job.id), "url", callback.url)
    pipe.expire(callback_key(job.id), callback.ttl_s)
    pipe.zadd(AWAITED_KEY, {job.id: job.deadline_at})


def call_off(pipe: Pipeline, task_id: str) -> None:
    """Of an upload that was taken back."""
    pipe.unlink(callback_key(task_id))
    pipe.zrem(AWAITED_KEY, task_id)


async def waiting(redis: Redis) -> int:
    """Callbacks for which there is no answer yet, or no receiver that took it."""
    async with redis.pipeline(transaction=False) as pipe:
        pipe.zcard(AWAITED_KEY)
        pipe.zcard(DUE_KEY)
        return sum(await pipe.execute())


@dataclass(frozen=True, kw_only=True)
class Notice:
    """An answer that is due."""

    task_id: str
    url: str
    #: the task's view, JSON
    body: str
    ended_at: float
    #: that failed
    attempts: int


class Outbox:
    """The sender's side. Raises RedisError."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def collect(self) -> None:
        """Makes due what has its answer by now."""
        awaited: Any = await self._redis.zrange(AWAITED_KEY, 0, -1, withscores=True)
        for start in range(0, len(awaited), _AT_ONCE):
            part = [(name.decode(), deadline) for name, deadline in awaited[start:][:_AT_ONCE]]
            metas: Any = await self._redis.mget([result_key(task_id) for task_id, _ in part])
            gone_before = time.time() - _GONE_S
            await self._end(
                {
                    task_id: meta
                    for (task_id, deadline), meta in zip(part, metas, strict=True)
                    if read_result(meta) or deadline < gone_before
                }
            )

    async def _end(self, metas: Mapping[str, bytes | None]) -> None:
        if not metas:
            return
        async with self._redis.pipeline(transaction=False) as pipe:
            for task_id in metas:
                pipe.hgetall(task_key(task_id))
                pipe.exists(callback_key(task_id))
            replies = await pipe.execute()
        now = time.time()
        async with self._redis.pipeline(transaction=True) as pipe:
            for (task_id, meta), fields, known in zip(
                metas.items(), replies[::2], replies[1::2], strict=True
            ):
                record = record_of(task_id, fields, meta) or _expired(task_id)
                if record.result is None:  # the sweeper has yet to say that it timed out
                    continue
                pipe.zrem(AWAITED_KEY, task_id)
                if known:
                    body = TaskView.of(record).model_dump_json()
                    pipe.hset(callback_key(task_id), mapping={"body": body, "ended_at": now})
                    pipe.zadd(DUE_KEY, {task_id: now})
            await pipe.execute()

    async def due(self, *, at_most: int) -> list[str]:
        """Ids, the longest due first."""
        found: Any = await self._redis.zrangebyscore(
            DUE_KEY, "-inf", time.time(), start=0, num=at_most
        )
        return [name.decode() for name in found]

    async def notices(self, task_ids: Iterable[str]) -> list[Notice]:
        """Those that have not expired; the others are forgotten."""
        ids = list(task_ids)
        async with self._redis.pipeline(transaction=False) as pipe:
            for task_id in ids:
                pipe.hgetall(callback_key(task_id))
            replies = await pipe.execute()
        found = []
        for task_id, fields in zip(ids, replies, strict=True):
            if b"body" in fields:
                found.append(_notice(task_id, fields))
            else:
                await self.close(task_id)
        return found

    async def close(self, task_id: str) -> None:
        """Nothing is left to do about this one."""
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.zrem(DUE_KEY, task_id)
            pipe.unlink(callback_key(task_id))
            await pipe.execute()

    async def retry(self, task_id: str, *, at: float) -> None:
        """Counts a failed attempt; the next one is due at `at`."""
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.hincrby(callback_key(task_id), "attempts", 1)
            pipe.zadd(DUE_KEY, {task_id: at}, xx=True)
            await pipe.execute()

    async def postpone(self, times: Mapping[str, float]) -> None:
        """Without counting an attempt."""
        if times:
            await self._redis.zadd(DUE_KEY, dict(times), xx=True)

    async def waiting(self) -> int:
        return await waiting(self._redis)


def _notice(task_id: str, fields: dict[bytes, bytes]) -> Notice:
    return Notice(
        task_id=task_id,
        url=fields[b"url"].decode(),
        body=fields[b"body"].decode(),
        ended_at=float(fields[b"ended_at"]),
        attempts=int(fields.get(b"attempts", 0)),
    )


def _expired(task_id: str) -> TaskRecord:
    return TaskRecord(
        id=task_id,
        accepted_at=0,
        deadline_at=0,
        started_at=None,
        finished_at=None,
        result=Failure.of(TaskNotFound("The result expired before it could be sent.")),
    )
