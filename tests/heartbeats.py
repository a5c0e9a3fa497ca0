"""Heartbeats as workers leave them in Redis, by its clock."""

from __future__ import annotations

from typing import Any

from fakeredis import FakeRedis

from shared.records import WORKERS_KEY, Heartbeat


def beat(redis: FakeRedis, name: str, *, age_s: float = 0, **fields: Any) -> None:
    seconds, micros = redis.time()
    known = {"model": "m@1", "variant": "v", "pid": 1, "beat_at": seconds + micros / 1e6 - age_s}
    heartbeat = Heartbeat(name=name, **known | fields)
    redis.hset(WORKERS_KEY, name, heartbeat.model_dump_json())
