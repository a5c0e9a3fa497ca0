"""Work that one worker does at a time: it says so again and again, and another may after three."""

from __future__ import annotations

import uuid

from redis import Redis


class Lease:
    def __init__(self, redis: Redis, key: str, *, every_s: float) -> None:
        self._redis = redis
        self._key = key
        self._ms = int(every_s * 3e3)
        self._name = uuid.uuid4().hex.encode()

    def is_ours(self) -> bool:
        """To be asked every `every_s`. Raises RedisError."""
        if self._redis.set(self._key, self._name, nx=True, px=self._ms):
            return True
        if self._redis.get(self._key) != self._name:
            return False
        self._redis.pexpire(self._key, self._ms)
        return True
