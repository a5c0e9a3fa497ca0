"""What one worker does every so often, in a thread of its own, for all of them."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod

from kombu.exceptions import OperationalError
from redis import Redis
from redis.exceptions import RedisError

from shared.errors import Unavailable
from worker.lease import Lease

logger = logging.getLogger(__name__)

#: somebody else is away, and comes back
_TROUBLE = (RedisError, OperationalError, OSError, Unavailable)


class Rounds(ABC):
    def __init__(self, redis: Redis, key: str, *, every_s: float) -> None:
        """`key` holds the lease of who goes round."""
        self._every_s = every_s
        self._lease = Lease(redis, key, every_s=every_s)
        self._closing = threading.Event()
        self._name = type(self).__name__.lower()
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)

    @abstractmethod
    def go_round(self) -> None:
        """What it raises is logged; the next round may fare better."""

    def start(self) -> None:
        self._thread.start()

    def close(self, timeout_s: float = 5) -> None:
        self._closing.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._closing.wait(self._every_s):
            try:
                if self._lease.is_ours():
                    self.go_round()
            except _TROUBLE as error:
                logger.warning("no round of the %s: %s", self._name, type(error).__name__)
            except Exception:
                logger.exception("no round of the %s", self._name)
