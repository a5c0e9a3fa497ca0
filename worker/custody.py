"""Who holds which image, so that one that kills its process does not take others along for ever.

A process that dies takes all its images with it, and all but one are innocent. Whatever comes back
from a dead process is therefore judged alone: should it die again, it was of that image.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from shared.contract import InspectJob
from shared.worklist import Claim, Worklist


class Custody:
    def __init__(self, worklist: Worklist) -> None:
        self._worklist = worklist
        self._room = _Room()

    @contextmanager
    def taken(self, job: InspectJob) -> Iterator[Claim]:
        """A claim on the task, for as long as this process works on it. Raises RedisError."""
        with self._room.together():
            claim = self._worklist.claim(job)
            if claim.deliveries <= 1 or not claim.open:
                yield claim
                return
            self._worklist.release(job.id)  # it only waits now
        with self._room.alone():
            yield self._worklist.claim(job)


class _Room:
    """Many together, or one alone; who wants to be alone goes first."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._waiting = 0
        self._taken = False

    @contextmanager
    def together(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._taken and not self._waiting)
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        with self._changed:
            self._waiting += 1
            self._changed.wait_for(lambda: not self._taken and not self._inside)
            self._waiting -= 1
            self._taken = True
        try:
            yield
        finally:
            with self._changed:
                self._taken = False
                self._changed.notify_all()
