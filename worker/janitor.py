"""Removes from the history what has had its time: one worker at a time, every minute."""

from __future__ import annotations

import logging
import threading
import time

from redis import Redis
from redis.exceptions import RedisError

from shared.errors import HistoryUnavailable
from shared.history.retention import Retention, prune
from shared.history.store import HistoryStore
from shared.records import RETENTION_KEY
from worker.lease import Lease

logger = logging.getLogger(__name__)

_EVERY_S = 60.0


class Janitor:
    def __init__(
        self, redis: Redis, store: HistoryStore, retention: Retention, *, every_s: float = _EVERY_S
    ) -> None:
        self._store = store
        self._retention = retention
        self._every_s = every_s
        self._lease = Lease(redis, RETENTION_KEY, every_s=every_s)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="janitor", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self, timeout_s: float = 5) -> None:
        self._closing.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._closing.wait(self._every_s):
            try:
                if self._lease.is_ours():
                    prune(self._store, self._retention, now=time.time())
            except (RedisError, HistoryUnavailable) as error:
                logger.warning("the history is not pruned: %s", type(error).__name__)
            except Exception:  # the next time may fare better
                logger.exception("the history is not pruned")
