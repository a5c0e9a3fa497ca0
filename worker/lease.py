"""Work that one worker does at a time: it says so again and again, and another may after three."""

from __future__ import annotations

import uuid

from redis import Redis
from redis.asyncio import Redis as AsyncRedis


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


class AsyncLease:
    """The same for an event loop, and it can be left to another at once."""

    def __init__(self, redis: AsyncRedis, key: str, *, lasts_s: float) -> None:
        self._redis = redis
        self._key = key
        self._ms = int(lasts_s * 1e3)
        self._name = uuid.uuid4().hex.encode()

    async def is_ours(self) -> bool:
        """To be asked well within `lasts_s`. Raises RedisError."""
        if await self._redis.set(self._key, self._name, nx=True, px=self._ms):
            return True
        if await self._redis.get(self._key) != self._name:
            return False
        await self._redis.pexpire(self._key, self._ms)
        return True

    async def leave(self) -> None:
        """Raises RedisError; then it runs out."""
        if await self._redis.get(self._key) == self._name:
            await self._redis.delete(self._key)
