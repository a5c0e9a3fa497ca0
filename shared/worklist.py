"""The worker's side of what we keep in Redis: synchronous, used from many threads."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from typing import Any

from redis import Redis

from shared.contract import InspectJob, Outcome
from shared.records import (
    CLAIMED_KEY,
    CONCLUDE,
    WORKER_FORGOTTEN_S,
    WORKER_SILENT_S,
    WORKERS_KEY,
    Heartbeat,
    conclusion,
    heartbeat_of,
    heatmap_key,
    read_result,
    ready,
    result_key,
    task_key,
    upload_key,
)

#: A retry counts no delivery: its process has not died of the image. Returns Claim's first fields.
#:
#: KEYS task, claimed; ARGV holder, unix time, seconds to keep the record, when it was sent
_CLAIM = """
local accepted, finished, holder =
  unpack(redis.call('HMGET', KEYS[1], 'accepted_at', 'finished_at', 'holder'))
if not accepted then return {0, 0} end
local more = holder == ARGV[1] and 0 or 1
local deliveries = redis.call('HINCRBY', KEYS[1], 'deliveries', more)
redis.call('HSET', KEYS[1], 'started_at', ARGV[2], 'holder', ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[3])
redis.call('SET', KEYS[2], ARGV[4])
return {finished and 0 or 1, deliveries}
"""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What a worker finds when it takes up a task."""

    #: False when the task is unknown, withdrawn or has its answer already: nothing is left to do
    open: bool
    #: how often it was taken up, this time included, by workers that did not live to end it
    deliveries: int
    #: None when the upload has expired
    image: bytes | None


def store_answer(redis: Redis, task_id: str, meta: bytes | str, *, ttl_s: int) -> bool:
    """Ends a task: keeps and publishes Celery's result, unless another came first."""
    keys, arguments = conclusion(task_id, meta, ttl_s=ttl_s)
    return bool(redis.eval(CONCLUDE, len(keys), *keys, *arguments))


class Worklist:
    def __init__(self, redis: Redis, *, record_ttl_s: int) -> None:
        self._redis = redis
        self._record_ttl_s = record_ttl_s
        #: names this process, and not the one that ran before it under the same name
        self._holder = uuid.uuid4().hex.encode()

    def claim(self, job: InspectJob) -> Claim:
        """Marks the task as started and fetches its image, in one round trip."""
        keys = [task_key(job.id), CLAIMED_KEY]
        now = time.time()
        arguments: list[bytes | float] = [self._holder, now, self._record_ttl_s, job.sent_at]
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.eval(_CLAIM, len(keys), *keys, *arguments)
            pipe.get(upload_key(job.id))  # not in the script, which would copy it twice more
            (open_, deliveries), image = pipe.execute()
        return Claim(open=bool(open_), deliveries=deliveries, image=image)

    def keep_heatmap(self, task_id: str, png: bytes) -> None:
        """For as long as the record: it is a few kilobytes."""
        self._redis.set(heatmap_key(task_id), png, ex=self._record_ttl_s)

    def answer(self, task_id: str) -> Outcome | None:
        """None while there is none, or when it has expired."""
        meta: Any = self._redis.get(result_key(task_id))
        result = read_result(meta)
        return result if isinstance(result, Outcome) else None

    def forget(self, task_ids: list[str]) -> int:
        """Removes all that is kept under these ids, before it expires; how many entries."""
        kinds = (upload_key, heatmap_key, task_key, result_key)
        found: Any = self._redis.unlink(*(key(task) for task in task_ids for key in kinds))
        return int(found)

    def release(self, task_id: str) -> None:
        """Takes back a claim: should this process die now, it was not of this task."""
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.hincrby(task_key(task_id), "deliveries", -1)
            pipe.hdel(task_key(task_id), "holder")
            pipe.execute()

    def beat(self, name: str, **fields: Any) -> None:
        """Tells the api that this worker is ready, by the clock of Redis; see Heartbeat."""
        now = self._now()
        beat = Heartbeat(name=name, beat_at=now, **fields)
        silent = [
            field.decode()
            for field, value in self._workers().items()
            if (other := heartbeat_of(value)) and now - other.beat_at > WORKER_FORGOTTEN_S
        ]
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.hset(WORKERS_KEY, name, beat.model_dump_json())
            if silent:
                pipe.hdel(WORKERS_KEY, *silent)
            pipe.execute()

    def ready_workers(self, *, silent_s: float = WORKER_SILENT_S) -> list[Heartbeat]:
        """Those that were heard within `silent_s`."""
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.time()
            pipe.hvals(WORKERS_KEY)
            time_now, beats = pipe.execute()
        return ready(time_now, beats, silent_s)

    def leave(self, name: str) -> None:
        self._redis.hdel(WORKERS_KEY, name)

    def _now(self) -> float:
        reply: Any = self._redis.time()
        return float(reply[0] + reply[1] / 1e6)

    def _workers(self) -> dict[bytes, bytes]:
        workers: Any = self._redis.hgetall(WORKERS_KEY)
        return dict(workers)
