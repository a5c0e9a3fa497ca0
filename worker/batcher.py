"""The micro-batcher: many task threads hand in views, a thread for each stream runs the models.

Batches form by themselves while the previous ones run; nothing ever waits for a batch to fill.
Each item brings the model that it was prepared for, so that a change of models mixes nothing.
Knows neither Celery nor Redis.
"""

from __future__ import annotations

import itertools
import math
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from shared.errors import InferenceFailed, TaskTimedOut
from shared.model.decode import Pixels
from shared.model.evidence import Floats, Trace
from shared.model.runtime import Embedded, Logits

#: uint8 [images, views, size, size, 3] to one row an image
Forward = Callable[[Pixels], Logits | Sequence[Embedded] | Sequence[Trace]]

#: what the queue hands out first
_URGENT, _SPARE, _END = range(3)


@dataclass(frozen=True)
class Answer:
    """Logits [2] of one image, and the milliseconds it waited and its batch took."""

    logits: Logits
    wait_ms: float
    forward_ms: float
    batch_size: int
    #: when `forward` was a model's `trace`
    trace: Trace | None = None
    #: what the head saw, where `forward` tells
    features: Floats | None = None


@dataclass(frozen=True)
class _Item:
    views: Pixels
    forward: Forward
    #: unix time, seconds
    deadline_at: float
    future: Future[Answer] = field(default_factory=Future)
    submitted: float = field(default_factory=time.perf_counter)


class Batcher:
    """Models are called from as many threads as there are streams. The caller bounds how many items
    are in flight: each task thread submits one and waits for it."""

    def __init__(
        self,
        *,
        max_batch: int,
        streams: int = 1,
        observe: Callable[[int], None] = lambda _size: None,
    ) -> None:
        """`observe` is told the size of each batch."""
        self._max_batch = max_batch
        self._observe = observe
        self._items: queue.PriorityQueue[tuple[int, int, _Item | None]] = queue.PriorityQueue()
        self._numbers = itertools.count()
        self._threads = [
            threading.Thread(target=self._run, name=f"batcher-{number}", daemon=True)
            for number in range(streams)
        ]
        #: when each running forward pass began, by thread
        self._busy_since: dict[int, float] = {}
        self._lock = threading.Lock()
        self._closed = False

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def submit(
        self, views: Pixels, forward: Forward, *, deadline_at: float, spare: bool = False
    ) -> Future[Answer]:
        """Items of an equal `forward` share a batch; a `spare` one runs alone when no other waits.

        The future fails with TaskTimedOut past `deadline_at`, InferenceFailed on a bad forward.
        Raises RuntimeError after `close`.
        """
        item = _Item(views, forward, deadline_at)
        with self._lock:
            if self._closed:
                raise RuntimeError("the batcher is closed")
            self._items.put((_SPARE if spare else _URGENT, next(self._numbers), item))
        return item.future

    def busy_s(self) -> float:
        """How long the longest running forward pass has taken so far; 0 when there is none."""
        began = list(self._busy_since.values())
        return time.perf_counter() - min(began) if began else 0.0

    @property
    def alive(self) -> bool:
        return all(thread.is_alive() for thread in self._threads)

    def close(self, timeout_s: float = 30) -> None:
        """Takes nothing new, answers what was submitted, then ends the threads."""
        with self._lock:
            self._closed = True
            self._end()
        give_up_at = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, give_up_at - time.monotonic()))

    def _end(self) -> None:
        self._items.put((_END, next(self._numbers), None))

    def _run(self) -> None:
        open_ = True
        while open_:
            items, open_ = self._take()
            for batch in _by_model([item for item in items if self._wanted(item)]):
                self._answer(batch)
        self._end()  # for the next thread

    def _take(self) -> tuple[list[_Item], bool]:
        """Waits for one item, then takes its share of what else is there.

        False when `close` was reached.
        """
        items: list[_Item] = []
        size = self._max_batch
        while len(items) < size:
            try:
                rank, number, item = self._items.get(block=not items)
            except queue.Empty:
                break
            if item is None:
                return items, False
            if rank == _SPARE and items:
                self._items.put((rank, number, item))
                break
            if not items:
                share = math.ceil((1 + self._items.qsize()) / len(self._threads))
                size = min(self._max_batch, share)
            items.append(item)
            if rank == _SPARE:
                break
        return items, True

    def _wanted(self, item: _Item) -> bool:
        if not item.future.set_running_or_notify_cancel():
            return False
        if time.time() > item.deadline_at:
            item.future.set_exception(TaskTimedOut())
            return False
        return True

    def _answer(self, batch: list[_Item]) -> None:
        started = time.perf_counter()
        self._busy_since[threading.get_ident()] = started
        self._observe(len(batch))
        try:
            rows = batch[0].forward(_joined([item.views for item in batch]))
            if len(rows) != len(batch):
                raise ValueError(f"{len(batch)} images went in, {len(rows)} answers came out")
        except Exception as error:
            self._blame(batch, error)
            return
        finally:
            self._busy_since.pop(threading.get_ident(), None)  # gone, where one was blamed
        took = (time.perf_counter() - started) * 1e3
        for item, row in zip(batch, rows, strict=True):
            waited = (started - item.submitted) * 1e3
            trace = row if isinstance(row, Trace) else None
            found = row if isinstance(row, Trace | Embedded) else Embedded(row)
            item.future.set_result(
                Answer(found.logits, waited, took, len(batch), trace, found.features)
            )

    def _blame(self, batch: list[_Item], error: Exception) -> None:
        """One bad image must not fail its neighbours: each is tried alone."""
        if len(batch) == 1:
            failure = InferenceFailed()
            failure.__cause__ = error
            batch[0].future.set_exception(failure)
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
