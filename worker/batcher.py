"""The micro-batcher: of the task threads that hand in views, those whose turn it is run the model.

There are no other threads: to hand an image to one, and to get its answer back, costs two switches.
A pass takes along what waits. Less than a batch waits for images that are being decoded, if not
for long; a lone image never waits. Each item brings the model that it was prepared for, so that a
change of models mixes nothing. Knows neither Celery nor Redis.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

import numpy as np

from shared.errors import InferenceFailed, ServiceError, TaskTimedOut
from shared.model.decode import Pixels
from shared.model.evidence import Floats, Trace
from shared.model.runtime import Embedded, Logits

#: how long a pass waits for images that are being decoded: a part of what the last pass took, and
#: seconds, at most
_PATIENCE, _PATIENCE_S = 0.25, 0.1

#: uint8 [images, views, size, size, 3] to one row an image
Forward = Callable[[Pixels], Logits | Sequence[Embedded] | Sequence[Trace]]


@dataclass(frozen=True)
class Answer:
    """Logits [2] of one image, and the milliseconds it waited and its batch took: where a pass is
    at hand inside the runtime, with its wait for the one before."""

    logits: Logits
    wait_ms: float
    forward_ms: float
    batch_size: int
    #: when `forward` was a model's `trace`
    trace: Trace | None = None
    #: what the head saw, where `forward` tells
    features: Floats | None = None


@dataclass(eq=False)
class _Item:
    views: Pixels
    forward: Forward
    #: unix time, seconds
    deadline_at: float
    submitted: float = field(default_factory=time.perf_counter)
    outcome: Answer | ServiceError | None = None
    #: what its thread waits for: a batch to run, itself the first of it; none, as it is answered;
    #: or None: to be patient, and then to see to it that the next pass begins
    turn: SimpleQueue[list[_Item] | None] = field(default_factory=SimpleQueue)

    def settle(self, outcome: Answer | ServiceError) -> None:
        self.outcome = outcome
        self.turn.put([])


class Batcher:
    """The caller bounds how many items wait: each thread waits for its own."""

    def __init__(
        self,
        *,
        max_batch: int,
        passes: int = 1,
        observe: Callable[[int], None] = lambda _size: None,
    ) -> None:
        """`passes`: under way at a time. `observe` is told the size of each batch."""
        self._max_batch = max_batch
        self._passes = passes
        self._observe = observe
        self._urgent: deque[_Item] = deque()
        self._spare: deque[_Item] = deque()
        self._running = 0
        #: images that are being decoded
        self._expected = 0
        #: whether a thread is being patient for all that wait
        self._patient = False
        #: seconds
        self._last_pass = 0.0
        self._changed = threading.Condition()
        #: when each running forward pass began, by thread
        self._busy_since: dict[int, float] = {}
        self._closed = False

    @contextmanager
    def expecting(self) -> Iterator[None]:
        """While an image is decoded that is then handed in."""
        with self._changed:
            self._expected += 1
        decoded = False
        try:
            yield
            decoded = True
        finally:
            with self._changed:
                self._expected -= 1
                if not decoded:  # else `infer` begins, this image with it
                    self._begin()

    def infer(
        self, views: Pixels, forward: Forward, *, deadline_at: float, spare: bool = False
    ) -> Answer:
        """Items of an equal `forward` share a batch; a `spare` one runs alone when no other waits.

        Raises TaskTimedOut past `deadline_at`, InferenceFailed on a bad forward, and RuntimeError
        after `close`.
        """
        item = _Item(views, forward, deadline_at)
        with self._changed:
            if self._closed:
                raise RuntimeError("the batcher is closed")
            (self._spare if spare else self._urgent).append(item)
            self._begin()
        batch = item.turn.get()
        if batch is None:
            batch = self._patiently(item)
        if batch:
            try:
                self._run(batch)
            finally:
                self._end()
        assert item.outcome  # noqa: S101 or its turn would not have come
        if isinstance(item.outcome, Answer):
            return item.outcome
        raise item.outcome

    def busy_s(self) -> float:
        """How long the longest running forward pass has taken so far; 0 when there is none."""
        began = list(self._busy_since.values())
        return time.perf_counter() - min(began) if began else 0.0

    def close(self, timeout_s: float = 30) -> None:
        """Takes nothing new, and waits until what was handed in is answered."""
        with self._changed:
            self._closed = True
            self._begin()
            self._changed.wait_for(lambda: not self._running, timeout_s)

    def _begin(self, *, at_once: bool = False) -> None:
        """A batch for each pass that is free, run by the thread of its first item."""
        if not at_once and self._is_worth_waiting():
            if not self._patient:
                self._patient = True
                self._urgent[0].turn.put(None)
            return
        self._patient = False
        while self._running < self._passes and (batch := self._next()):
            self._running += 1
            batch[0].turn.put(batch)

    def _is_worth_waiting(self) -> bool:
        free = self._running < self._passes
        more = self._expected and self._last_pass and not self._closed
        return bool(free and more and 0 < len(self._urgent) < self._max_batch)

    def _patiently(self, item: _Item) -> list[_Item]:
        try:
            batch = item.turn.get(timeout=min(self._last_pass * _PATIENCE, _PATIENCE_S))
        except Empty:
            with self._changed:
                if item.turn.empty():  # else its batch has come, if late
                    self._begin(at_once=True)
            batch = item.turn.get()
        assert batch is not None  # noqa: S101 nobody is asked twice
        return batch

    def _end(self) -> None:
        with self._changed:
            self._running -= 1
            self._begin()
            if not self._running:
                self._changed.notify_all()

    def _next(self) -> list[_Item]:
        """What waits, or its share of it where other passes are free, too."""
        if not self._urgent:
            return [self._spare.popleft()] if self._spare else []
        free = self._passes - self._running
        size = min(self._max_batch, math.ceil(len(self._urgent) / free))
        return [self._urgent.popleft() for _ in range(size)]

    def _run(self, items: list[_Item]) -> None:
        now = time.time()
        for item in items:
            if now > item.deadline_at:
                item.settle(TaskTimedOut())
        try:
            for batch in _by_model([item for item in items if item.outcome is None]):
                self._answer(batch)
        finally:  # whatever happened here, no thread may wait for ever
            for item in items:
                if item.outcome is None:
                    item.settle(InferenceFailed())

    def _answer(self, batch: list[_Item]) -> None:
        self._observe(len(batch))
        started = time.perf_counter()
        self._busy_since[threading.get_ident()] = started
        try:
            rows = batch[0].forward(_joined([item.views for item in batch]))
            if len(rows) != len(batch):
                raise ValueError(f"{len(batch)} images went in, {len(rows)} answers came out")
        except Exception as error:
            self._blame(batch, error)
            return
        finally:
            self._busy_since.pop(threading.get_ident(), None)  # gone, where one was blamed
        self._last_pass = time.perf_counter() - started
        took = self._last_pass * 1e3
        for item, row in zip(batch, rows, strict=True):
            waited = (started - item.submitted) * 1e3
            trace = row if isinstance(row, Trace) else None
            found = row if isinstance(row, Trace | Embedded) else Embedded(row)
            item.settle(Answer(found.logits, waited, took, len(batch), trace, found.features))

    def _blame(self, batch: list[_Item], error: Exception) -> None:
        """One bad image must not fail its neighbours: each is tried alone."""
        if len(batch) == 1:
            failure = InferenceFailed()
            failure.__cause__ = error
            batch[0].settle(failure)
            return
        for item in batch:
            self._answer([item])


def _joined(views: list[Pixels]) -> Pixels:
    return views[0][None] if len(views) == 1 else np.stack(views)


def _by_model(items: list[_Item]) -> list[list[_Item]]:
    groups: dict[Forward, list[_Item]] = {}
    for item in items:
        groups.setdefault(item.forward, []).append(item)
    return list(groups.values())
