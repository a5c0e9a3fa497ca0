"""A bounded queue with a thread of its own, for what no answer may wait for."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Lane(Generic[T]):
    """Hands what was put in to `work`, in its order, as much at once as waits, up to `at_once`."""

    def __init__(
        self,
        name: str,
        work: Callable[[list[T]], None],
        *,
        most: int,
        most_bytes: int,
        at_once: int = 1,
    ) -> None:
        self._work = work
        self._most = most
        self._most_bytes = most_bytes
        self._at_once = at_once
        self._waiting: queue.SimpleQueue[tuple[T, int] | None] = queue.SimpleQueue()
        self._count = self._bytes = 0
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, thing: T, size: int) -> bool:
        """Returns at once: False when it does not fit and is let go. `size`: bytes."""
        with self._lock:
            if self._count >= self._most or self._bytes + size > self._most_bytes:
                return False
            self._count, self._bytes = self._count + 1, self._bytes + size
        self._waiting.put((thing, size))
        return True

    @property
    def waiting(self) -> int:
        """Things that wait or are in work."""
        with self._lock:
            return self._count

    def close(self, timeout_s: float) -> None:
        """Works off what waits, as far as the time allows."""
        self._waiting.put(None)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        last = False
        while not last:
            taken, last = self._take()
            if not taken:
                continue
            try:
                self._work([thing for thing, _ in taken])
            except Exception:  # or this thread would never work again
                logger.exception("unexpected error")
            with self._lock:
                self._count -= len(taken)
                self._bytes -= sum(size for _, size in taken)

    def _take(self) -> tuple[list[tuple[T, int]], bool]:
        """What waits; and whether nothing comes after it."""
        taken: list[tuple[T, int]] = []
        entry = self._waiting.get()
        while entry is not None:
            taken.append(entry)
            if len(taken) == self._at_once or self._waiting.empty():
                return taken, False
            entry = self._waiting.get()
        return taken, True
