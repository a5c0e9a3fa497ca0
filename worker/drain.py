"""How fast this worker works tasks off, measured only while it has any."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

#: seconds of work after which an older measurement counts about a third
_MEMORY_S = 20.0
#: with fewer tasks than this, the first slow ones would say too much
_ENOUGH = 10


class DrainRate:
    """Idle time does not count, so that a quiet hour does not look like a slow worker. With few
    tasks at a time the rate is cautious: full batches are faster."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._in_work = 0
        self._since = 0.0
        #: of late, and fading
        self._tasks = 0.0
        self._busy_s = 0.0
        self._counted = 0

    def begin(self) -> None:
        with self._lock:
            self._note()
            self._in_work += 1

    def end(self) -> None:
        with self._lock:
            self._note()
            self._in_work -= 1
            self._tasks += 1
            self._counted += 1

    def per_s(self) -> float | None:
        """Tasks a second; None while too few were seen."""
        with self._lock:
            self._note()
            if self._counted < _ENOUGH or not self._busy_s:
                return None
            return self._tasks / self._busy_s

    def _note(self) -> None:
        now = self._clock()
        if self._in_work:
            busy_s = now - self._since
            fading = math.exp(-busy_s / _MEMORY_S)
            self._tasks *= fading
            self._busy_s = self._busy_s * fading + busy_s
        self._since = now
