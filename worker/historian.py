"""Keeps answered images in the history, after their answers and in a thread of its own.

What there is no room or no database for is counted and let go.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from shared.contract import Outcome
from shared.errors import HistoryUnavailable
from shared.history.store import Answered, HistoryStore
from worker.lane import Lane
from worker.seen import Seen

logger = logging.getLogger(__name__)

#: images that may wait, and their bytes
_WAITING = 256
_WAITING_BYTES = 64 * 2**20
#: images of one transaction
_AT_ONCE = 32


class Historian:
    def __init__(self, store: HistoryStore, count: Callable[[str, int], None]) -> None:
        """`count` is told how many images were `kept`, `skipped` or `failed`."""
        self._store = store
        self._count = count
        self._of_this_thread = threading.local()
        self._lane: Lane[tuple[Answered, bytes]] = Lane(
            "historian", self._keep, most=_WAITING, most_bytes=_WAITING_BYTES, at_once=_AT_ONCE
        )

    def start(self) -> None:
        self._lane.start()

    def see(self, seen: Seen) -> None:
        """Holds what a task thread has judged until that thread has stored its answer."""
        self._of_this_thread.seen = seen

    def answered(self, outcome: Outcome) -> None:
        """Call in the task's thread when its first answer is stored. Returns at once."""
        seen: Seen | None = self._of_this_thread.__dict__.pop("seen", None)
        if seen is None or outcome.prediction is None or seen.job.id != outcome.id:
            return
        answer = Answered(
            task_id=outcome.id,
            sha256=outcome.sha256,
            at=time.time(),
            client=seen.job.client,
            model=outcome.model,
            pred=outcome.prediction.pred,
            prob_scratches=outcome.prediction.prob_scratches,
            threshold=seen.threshold,
            size=len(seen.image),
            verdict=seen.verdict,
            embedding=seen.embedding,
            embedding_space=seen.embedding_space,
        )
        if not self._lane.put((answer, seen.image), answer.size):
            self._count("skipped", 1)

    def close(self, timeout_s: float = 5) -> None:
        """Writes what waits, as far as the time allows."""
        self._lane.close(timeout_s)
        self._store.close()

    def _keep(self, answered: list[tuple[Answered, bytes]]) -> None:
        kept = 0
        try:
            kept = self._store.keep(answered)
        except HistoryUnavailable as error:
            logger.warning("not kept: %s", error)
        self._count("kept", kept)
        self._count("failed", len(answered) - kept)
