"""The worker's side of what we keep in Redis: synchronous, used from many threads."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from redis import Redis

from shared.records import (
    OPEN_KEY,
    WORKER_FORGOTTEN_S,
    WORKERS_KEY,
    Heartbeat,
    heartbeat_of,
    heatmap_key,
    ready,
    task_key,
    upload_key,
)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What a worker finds when it takes up a task. `image` is None when the upload expired."""

    known: bool
    cancelled: bool
    deliveries: int
    image: bytes | None


class Worklist:
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

    def keep_heatmap(self, task_id: str, png: bytes) -> None:
        """For as long as the record: it is a few kilobytes."""
        self._redis.set(heatmap_key(task_id), png, ex=self._record_ttl_s)

    def finish(self, task_id: str) -> None:
        """Call when the result is stored: the image goes, the record stays with the result."""
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.unlink(upload_key(task_id))
            pipe.zrem(OPEN_KEY, task_id)
            pipe.hset(task_key(task_id), "finished_at", time.time())
            pipe.expire(task_key(task_id), self._result_ttl_s)
            pipe.execute()

    def beat(self, name: str, **fields: Any) -> None:
        """Tells the api that this worker is ready, by the clock of Redis; see Heartbeat."""
        now = self._now()
        beat = Heartbeat(name=name, beat_at=now, **fields)
        silent = [
            field
            for field, value in self._workers().items()
            if (other := heartbeat_of(value)) and now - other.beat_at > WORKER_FORGOTTEN_S
        ]
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.hset(WORKERS_KEY, name, beat.model_dump_json())
            if silent:
                pipe.hdel(WORKERS_KEY, *silent)
            pipe.execute()

    def ready_workers(self) -> list[Heartbeat]:
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.time()
            pipe.hvals(WORKERS_KEY)
            return ready(*pipe.execute())

    def leave(self, name: str) -> None:
        self._redis.hdel(WORKERS_KEY, name)

    def _now(self) -> float:
        reply: Any = self._redis.time()
        return float(reply[0] + reply[1] / 1e6)

    def _workers(self) -> dict[bytes, bytes]:
        workers: Any = self._redis.hgetall(WORKERS_KEY)
        return dict(workers)
