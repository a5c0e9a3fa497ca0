"""Watches whether photos, or the rate of scratches, drift away: in a thread of its own.

A few photos a second are looked at, whatever the load; no answer waits for it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from redis.exceptions import RedisError

from shared.drift import DriftReport, DriftStore
from shared.images import open_image
from shared.model.decode import Pixels
from shared.model.drift import FEWEST, Moved, RateChart, State, moved, state_of
from shared.model.evidence import Floats
from shared.model.inspector import Inspector, Verdict
from shared.model.labels import LABELS
from shared.model.reference import Place, input_statistics, statistics
from worker.lane import Lane

logger = logging.getLogger(__name__)

#: seconds between two photos that are looked at: a quarter of a millisecond each
_EVERY_S = 0.05
#: photos that may wait, and their bytes
_WAITING, _WAITING_BYTES = 64, 64 * 2**20
#: photos below which time alone closes no window
_FEWEST_BY_TIME = 2 * FEWEST


@dataclass(frozen=True)
class Sample:
    """An image that the champion has judged."""

    model: Inspector
    views: Pixels
    image: bytes
    verdict: Verdict
    place: Place


#: hears each closed window's report, and every statistic that moved
Closed = Callable[[DriftReport, list[Moved]], None]


class DriftMonitor:
    def __init__(
        self,
        store: DriftStore,
        closed: Closed,
        *,
        name: Callable[[], str],
        window: int,
        window_s: float,
        every_s: float = _EVERY_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """A window closes with `window` photos, or after `window_s` seconds if it has enough."""
        self._store, self._closed, self._name = store, closed, name
        self._window, self._window_s = window, window_s
        self._every_s, self._clock = every_s, clock
        self._next_at = 0.0
        self._lane: Lane[Sample] = Lane(
            "drift", self._look, most=_WAITING, most_bytes=_WAITING_BYTES
        )
        self._begin("")

    def start(self) -> None:
        self._lane.start()

    def note(self, sample: Sample) -> None:
        """Returns at once; what comes too soon, or does not fit, is let go."""
        now = self._clock()
        if now >= self._next_at:
            self._next_at = now + self._every_s
            self._lane.put(sample, sample.views.nbytes + len(sample.image))

    def close(self, timeout_s: float = 5) -> None:
        self._lane.close(timeout_s)

    def _begin(self, title: str) -> None:
        """Another model has another reference, and says `scratched` otherwise."""
        self._title = title
        self._chart = RateChart()
        self._state: State = "steady"
        self._in_a_row = 0
        self._empty()

    def _empty(self) -> None:
        self._rows: list[Floats] = []
        self._answers: list[int] = []
        self._since = self._clock()

    def _look(self, samples: list[Sample]) -> None:
        for sample in samples:
            title = sample.model.title
            if title != self._title:
                self._begin(title)
            width, height = open_image(sample.image).size
            inputs = input_statistics(sample.views, width * height)
            self._rows.append(statistics(inputs, sample.place, sample.verdict.prob_scratches))
            self._answers.append(LABELS.index(sample.verdict.pred))
            late = self._clock() - self._since >= self._window_s
            if len(self._rows) >= (_FEWEST_BY_TIME if late else self._window):
                self._conclude(sample.model)

    def _conclude(self, model: Inspector) -> None:
        assert model.reference  # noqa: S101 without it there is no place
        answers = np.array(self._answers)
        found = moved(model.reference, np.stack(self._rows), answers)
        scratched, photos = int(answers.sum()), len(answers)
        state = state_of(found, rate_moved=self._chart.out_of_control(scratched, photos))
        if state == "steady":
            self._chart.learn(scratched, photos)
        self._in_a_row = self._in_a_row + 1 if state == self._state else 1
        self._state = state
        report = DriftReport(
            worker=self._name(),
            model=self._title,
            state=state,
            windows=self._in_a_row,
            at=self._clock(),
            images=photos,
            moved=[one.statistic for one in found],
            scratch_rate=scratched / photos,
            usual_rate=self._chart.centre,
        )
        self._empty()
        if state != "steady":
            logger.warning("drift: %s", report)
        self._closed(report, found)
        try:
            self._store.write(report)
        except RedisError as error:
            logger.warning("a drift report is lost: %s", error)
