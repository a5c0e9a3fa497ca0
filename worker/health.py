"""`python -m worker.health`: exits with 0 while this host's worker beats. For container probes.

Asks Redis, never the worker: `inspect ping` would fail whenever it is busy. A Redis that is away
reads as unhealthy, so this tells readiness and must not restart anything.
"""

from __future__ import annotations

import socket
import sys

from redis import Redis
from redis.exceptions import RedisError

from shared.records import WORKER_SILENT_S, WORKERS_KEY, heartbeat_of
from shared.settings import Settings, get_settings

_TIMEOUT_S = 3


def beats(settings: Settings, host: str) -> bool:
    """Whether a worker on `host` has told within seconds that its model is ready."""
    with (
        Redis.from_url(
            settings.redis_url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S
        ) as redis,
        redis.pipeline(transaction=False) as pipe,
    ):
        pipe.time()
        pipe.hvals(WORKERS_KEY)
        (seconds, micros), values = pipe.execute()
    now = seconds + micros / 1e6
    found = [beat for value in values if (beat := heartbeat_of(value))]
    return any(
        beat.name.rpartition("@")[2] == host and now - beat.beat_at < WORKER_SILENT_S
        for beat in found
    )


def main() -> int:
    try:
        return 0 if beats(get_settings(), socket.gethostname()) else 1
    except RedisError:
        return 1


if __name__ == "__main__":
    sys.exit(main())
