"""Each client's share of uploads: by the name of its key, else by its address."""

from __future__ import annotations

import math
import time
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any, cast

from fastapi import Request
from limits import parse
from limits.aio.storage import RedisStorage, Storage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from redis.asyncio import Redis

from shared.errors import RateLimited


class RateLimiter:
    """Counts in Redis, so that all api processes count together. Raises RedisError without it."""

    def __init__(self, limit: str, storage: Storage) -> None:
        """`limit` is such as `600/minute`."""
        self._limit = parse(limit)
        self._windows = SlidingWindowCounterRateLimiter(storage)

    async def spend(self, client: str, images: int) -> None:
        """Raises RateLimited when the client has had its share."""
        if images > self._limit.amount:
            raise RateLimited(f"{images} images at once; the limit is {self._limit}.")
        if not await self._windows.hit(self._limit, client, cost=images):
            window = await self._windows.get_window_stats(self._limit, client)
            error = RateLimited(f"More than {self._limit}.")
            error.retry_after_s = max(1, math.ceil(window.reset_time - time.time()))
            raise error


def redis_limiter(limit: str, redis: Redis) -> RateLimiter:
    pool: Any = redis.connection_pool  # an option like any other, by its type
    storage = RedisStorage("async+redis://", implementation="redispy", connection_pool=pool)
    return RateLimiter(limit, storage)


def client_of(request: Request) -> str:
    """An IPv6 client has a whole /64 to itself."""
    if request.state.key_name:
        return f"key:{request.state.key_name}"
    host = request.client.host if request.client else "unknown"
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if isinstance(address, IPv6Address):
        return str(ip_network((address.packed, 64), strict=False))
    return host


async def spend(request: Request, images: int) -> None:
    """Nothing where there is no limit. Raises RateLimited."""
    limiter = cast(RateLimiter | None, request.app.state.limiter)
    if limiter and images:
        await limiter.spend(client_of(request), images)
