"""What we keep in Redis beside Celery's own keys: uploads, task records, open tasks, workers.

scratch:upload:{id}   the image's bytes, until its result is stored
scratch:task:{id}     hash, the record that an accepted id is known
scratch:open          sorted set of accepted, unfinished ids by their deadlines
scratch:workers       hash, worker name -> Heartbeat
celery-task-meta-{id} Celery's result, written by the worker's Celery
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import WatchError

from shared.contract import Failure, InspectJob, Outcome, TaskStatus
from shared.errors import BadMessage, InternalError, TaskCancelled

OPEN_KEY = "scratch:open"
WORKERS_KEY = "scratch:workers"
#: Celery's key and also its pub/sub channel
RESULT_PREFIX = "celery-task-meta-"
#: seconds after which a silent worker no longer counts as ready; it beats every two
WORKER_SILENT_S = 4.5
#: seconds after which a silent worker is forgotten
WORKER_FORGOTTEN_S = 3600


def upload_key(task_id: str) -> str:
    return f"scratch:upload:{task_id}"


def task_key(task_id: str) -> str:
    return f"scratch:task:{task_id}"


def result_key(task_id: str) -> str:
    return RESULT_PREFIX + task_id


def read_result(meta: bytes | str | None) -> Outcome | Failure | None:
    """Celery's stored or published result; None while it is not final.

    An exception that Celery stored is read as data (its type and text may be anything) and becomes
    a failure with our code; it is never rebuilt.
    """
    if not meta:
        return None
    try:
        fields = dict(json.loads(meta))
    except (ValueError, TypeError):
        return Failure.of(BadMessage())
    match fields.get("status"):
        case "SUCCESS":
            try:
                return Outcome.decode(fields.get("result"))
            except BadMessage as error:
                return Failure.of(error)
        case "FAILURE":
            return Failure.of(InternalError())
        case "REVOKED":
            return Failure.of(TaskCancelled())
        case _:
            return None


@dataclass(frozen=True, kw_only=True)
class TaskRecord:
    """What the store knows of an accepted task. Times are unix seconds."""

    id: str
    accepted_at: float
    deadline_at: float
    started_at: float | None
    finished_at: float | None
    cancelled: bool
    result: Outcome | Failure | None

    @property
    def status(self) -> TaskStatus:
        if self.result is not None:
            return self.result.status if isinstance(self.result, Outcome) else TaskStatus.FAILED
        if self.cancelled:
            return TaskStatus.FAILED
        return TaskStatus.QUEUED if self.started_at is None else TaskStatus.RUNNING


def _record(task_id: str, fields: dict[bytes, bytes], meta: bytes | None) -> TaskRecord | None:
    if b"accepted_at" not in fields:
        return None
    result = read_result(meta)
    if result is None and b"finished_at" in fields:
        return None  # finished, and the result has expired since

    def moment(name: bytes) -> float | None:
        return float(fields[name]) if name in fields else None

    return TaskRecord(
        id=task_id,
        accepted_at=float(fields[b"accepted_at"]),
        deadline_at=float(fields[b"deadline_at"]),
        started_at=moment(b"started_at"),
        finished_at=moment(b"finished_at"),
        cancelled=b"cancelled" in fields,
        result=result,
    )


class Heartbeat(BaseModel):
    """A worker with a loaded and proven model, at `beat_at` by the clock of Redis."""

    model_config = ConfigDict(frozen=True)

    name: str
    model: str
    variant: str
    pid: int
    beat_at: float


def _heartbeat(data: bytes) -> Heartbeat | None:
    """None for one that a worker of another version wrote."""
    try:
        return Heartbeat.model_validate_json(data)
    except ValidationError:
        return None


class Intake:
    """The api's side: asynchronous."""

    def __init__(self, redis: AsyncRedis, *, record_ttl_s: int) -> None:
        self._redis = redis
        self._record_ttl_s = record_ttl_s

    async def accept(self, job: InspectJob, image: bytes) -> None:
        """Stores the image and the record in one round trip."""
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.set(upload_key(job.id), image, ex=int(job.deadline_at - job.accepted_at) + 1)
            pipe.hset(
                task_key(job.id),
                mapping={"accepted_at": job.accepted_at, "deadline_at": job.deadline_at},
            )
            pipe.expire(task_key(job.id), self._record_ttl_s)
            pipe.zremrangebyscore(OPEN_KEY, "-inf", job.accepted_at)
            pipe.zadd(OPEN_KEY, {job.id: job.deadline_at})
            await pipe.execute()

    async def withdraw(self, task_id: str) -> None:
        """Takes back what was accepted but could not be queued."""
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.unlink(upload_key(task_id), task_key(task_id))
            pipe.zrem(OPEN_KEY, task_id)
            await pipe.execute()

    async def record(self, task_id: str) -> TaskRecord | None:
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.hgetall(task_key(task_id))
            pipe.get(result_key(task_id))
            fields, meta = await pipe.execute()
        return _record(task_id, fields, meta)

    async def cancel(self, task_id: str) -> bool:
        """Marks a task that has not started; False when a worker was quicker or none is known."""
        key = task_key(task_id)
        async with self._redis.pipeline(transaction=True) as pipe:
            while True:
                await pipe.watch(key)  # a claim from here on makes `execute` raise WatchError
                reply: Any = pipe.hmget(key, "accepted_at", "started_at", "finished_at")
                accepted, started, finished = await reply
                if not accepted or started or finished:
                    return False
                pipe.multi()  # type: ignore[no-untyped-call]
                pipe.hset(key, "cancelled", 1)
                pipe.expire(key, self._record_ttl_s)
                pipe.unlink(upload_key(task_id))
                try:
                    await pipe.execute()
                except WatchError:
                    continue
                return True

    async def open_tasks(self, *, now: float) -> int:
        """Those past their deadline have failed, whatever became of their message."""
        return int(await self._redis.zcount(OPEN_KEY, now, "+inf"))

    async def ready_workers(self) -> list[Heartbeat]:
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.time()
            pipe.hvals(WORKERS_KEY)
            (seconds, micros), beats = await pipe.execute()
        now = seconds + micros / 1e6
        return [
            heartbeat
            for beat in beats
            if (heartbeat := _heartbeat(beat)) and now - heartbeat.beat_at < WORKER_SILENT_S
        ]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What a worker finds when it takes up a task. `image` is None when the upload expired."""

    known: bool
    cancelled: bool
    deliveries: int
    image: bytes | None


class Worklist:
    """The worker's side: synchronous, used from many threads."""

    def __init__(self, redis: Redis, *, record_ttl_s: int, result_ttl_s: int) -> None:
        self._redis = redis
        self._record_ttl_s = record_ttl_s
        self._result_ttl_s = result_ttl_s

    def claim(self, task_id: str) -> Claim:
        """Marks the task as started and fetches its image, in one round trip."""
        key = task_key(task_id)
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.hincrby(key, "deliveries", 1)
            pipe.hmget(key, "accepted_at", "cancelled")
            pipe.hset(key, "started_at", time.time())
            pipe.expire(key, self._record_ttl_s)
            pipe.get(upload_key(task_id))
            deliveries, (accepted, cancelled), _, _, image = pipe.execute()
        return Claim(
            known=accepted is not None,
            cancelled=cancelled is not None,
            deliveries=int(deliveries),
            image=image,
        )

    def finish(self, task_id: str) -> None:
        """Call when the result is stored: the image goes, the record stays with the result."""
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.unlink(upload_key(task_id))
            pipe.zrem(OPEN_KEY, task_id)
            pipe.hset(task_key(task_id), "finished_at", time.time())
            pipe.expire(task_key(task_id), self._result_ttl_s)
            pipe.execute()

    def beat(self, name: str, *, model: str, variant: str, pid: int) -> None:
        """Tells the api that this worker is ready, by the clock of Redis."""
        now = self._now()
        beat = Heartbeat(name=name, model=model, variant=variant, pid=pid, beat_at=now)
        silent = [
            field
            for field, value in self._workers().items()
            if (other := _heartbeat(value)) and now - other.beat_at > WORKER_FORGOTTEN_S
        ]
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.hset(WORKERS_KEY, name, beat.model_dump_json())
            if silent:
                pipe.hdel(WORKERS_KEY, *silent)
            pipe.execute()

    def leave(self, name: str) -> None:
        self._redis.hdel(WORKERS_KEY, name)

    def _now(self) -> float:
        reply: Any = self._redis.time()
        return float(reply[0] + reply[1] / 1e6)

    def _workers(self) -> dict[bytes, bytes]:
        workers: Any = self._redis.hgetall(WORKERS_KEY)
        return dict(workers)
