"""Notes what the models of a trial say, in a thread of its own: no answer ever waits for it.

A shadow with a tower of its own judges here, when the batcher has nothing else to do; what there is
no time for is counted and let go.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import Counter
from dataclasses import dataclass

from redis.exceptions import RedisError

from shared.model.inspector import Inspector, Verdict
from shared.trials import Ballot, Finding, TrialStore
from worker.batcher import Batcher
from worker.lane import Lane

logger = logging.getLogger(__name__)

#: sightings that may wait, and bytes of images among them
_WAITING = 256
_WAITING_BYTES = 64 * 2**20


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """An answered task. With `challenger`, that model is still to judge `image`."""

    trial_id: str
    ballot: Ballot
    #: why the challenger said nothing, where it should have
    failed: bool = False
    challenger: Inspector | None = None
    image: bytes = b""


def finding(verdict: Verdict, ms: float | None) -> Finding:
    return Finding.model_validate(
        {"pred": verdict.pred, "prob_scratches": verdict.prob_scratches, "ms": ms}
    )


class Referee:
    def __init__(self, batcher: Batcher, store: TrialStore) -> None:
        self._batcher = batcher
        self._store = store
        #: by trial, not yet written
        self._skipped: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._lane: Lane[Sighting] = Lane(
            "referee", self._write_all, most=_WAITING, most_bytes=_WAITING_BYTES
        )

    def start(self) -> None:
        self._lane.start()

    def note(self, sighting: Sighting) -> None:
        """Returns at once; what does not fit is let go."""
        if not self._lane.put(sighting, len(sighting.image)):
            with self._lock:
                self._skipped[sighting.trial_id] += 1

    def close(self, timeout_s: float = 5) -> None:
        """Writes what waits, as far as the time allows."""
        self._lane.close(timeout_s)

    def _write_all(self, sightings: list[Sighting]) -> None:
        for sighting in sightings:
            try:
                self._write(sighting)
            except RedisError as error:
                logger.warning("a trial's ballot is lost: %s", error)

    def _write(self, sighting: Sighting) -> None:
        with self._lock:
            skipped, self._skipped = self._skipped, Counter()
        for trial_id, number in skipped.items():
            self._store.count(trial_id, "skipped", number)
        ballot, failed = sighting.ballot, sighting.failed
        if sighting.challenger:
            try:
                found = self._judge(sighting.challenger, sighting.image)
                ballot = ballot.model_copy(update={"challenger": found})
            except Exception as error:
                logger.warning("the challenger failed on %s: %s", ballot.task_id, error)
                failed = True
        if failed:
            self._store.count(sighting.trial_id, "failed")
        self._store.add(sighting.trial_id, ballot)

    def _judge(self, model: Inspector, image: bytes) -> Finding:
        began = time.perf_counter()
        views = model.preprocess(image)
        decode_ms = (time.perf_counter() - began) * 1e3
        answer = self._batcher.infer(views, model.forward, deadline_at=math.inf, spare=True)
        return finding(model.postprocess(answer.logits), decode_ms + answer.forward_ms)
