"""Have the photos changed since the checkpoint was made? By window, against its reference.

Each statistic of a window is held against the reference's by the two-sample test of Kolmogorov and
Smirnov, apart for the photos that were answered scratched and those that were not: so that more
scratches alone move nothing. One test of all being significant at ALPHA over their number
(Bonferroni) calls the window shifted; of the ways to detect a shift that Rabanser et al. 2019
("Failing loudly", arXiv:1810.11953) compare, tests of single dimensions after a reduction do best.

The rate of scratches has a p-chart of its own (Shewhart 1931): its centre is what the first steady
windows showed, as the mix of photos that a checkpoint learned from says nothing about a line.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shared.model.evidence import Floats
from shared.model.labels import LABELS
from shared.model.reference import INPUTS, STATISTICS, Reference

#: of a steady window: the probability that its photos are called shifted, and the same of its rate
ALPHA = 0.001
#: photos of one answer, in a window or in the reference, below which nothing is held against them
FEWEST = 30
#: photos that the centre of the chart is taken from
_BASELINE = 1000

#: in the order of STATISTICS; not the score: where scratches are rare, more of those that are
#: called so are weak, though no photo has changed
_TESTED = STATISTICS[:-1]

#: `parts`: more or fewer scratches, on photos like those before. `material`: the tower sees
#: something else, though light and focus are as they were. `camera`: they are not
State = Literal["steady", "parts", "material", "camera"]


@dataclass(frozen=True)
class Moved:
    """A statistic whose distribution is no longer that of the reference."""

    statistic: str
    #: largest difference of the two distribution functions, 0 to 1
    distance: float
    p_value: float


def moved(reference: Reference, rows: Floats, answers: NDArray[np.int64]) -> list[Moved]:
    """Of a window: rows [photos, STATISTICS], answers [photos] as positions in LABELS."""
    found: dict[str, Moved] = {}
    level = ALPHA / (len(LABELS) * len(_TESTED))
    for answer, count in enumerate(reference.counts):
        ours = rows[answers == answer]
        if min(len(ours), count) < FEWEST:
            continue
        for number, name in enumerate(_TESTED):
            known = reference.quantiles[answer, number]
            distance = _distance(ours[:, number], known)
            kept = min(float(count), len(known))
            size = len(ours) * kept / (len(ours) + kept)
            p_value = kolmogorov(math.sqrt(size) * distance)
            if p_value < level and (name not in found or p_value < found[name].p_value):
                found[name] = Moved(name, distance, p_value)
    return sorted(found.values(), key=lambda one: one.p_value)


def _distance(values: Floats, known: Floats) -> float:
    """Of Kolmogorov and Smirnov; ties, as of sizes, make it smaller and never larger."""
    values = np.sort(values)
    points = np.concatenate([values, known])
    ours = np.searchsorted(values, points, "right") / len(values)
    theirs = np.searchsorted(known, points, "right") / len(known)
    return float(np.abs(ours - theirs).max())


def kolmogorov(x: float) -> float:
    """The survival function of Kolmogorov's distribution. (scipy's takes a worker 27 MB.)"""
    if x < 0.3:
        return 1.0
    terms = ((-1) ** (k - 1) * math.exp(-2 * (k * x) ** 2) for k in range(1, 12))
    return min(1.0, 2 * math.fsum(terms))


class RateChart:
    """Whether a window has more or fewer scratches than those that the chart began with.

    By Fisher's exact test (1934) against the centre's own photos, as the centre is an estimate too:
    a steady window is called out with a probability below ALPHA, half of it for either side.
    """

    def __init__(self) -> None:
        self._scratched = self._photos = 0

    @property
    def centre(self) -> float | None:
        """None while too few photos were seen."""
        return self._scratched / self._photos if self._photos >= _BASELINE else None

    def learn(self, scratched: int, photos: int) -> None:
        """From a steady window; does nothing once the centre is known."""
        if self.centre is None:
            self._scratched, self._photos = self._scratched + scratched, self._photos + photos

    def out_of_control(self, scratched: int, photos: int) -> bool:
        if self.centre is None:
            return False
        total, all_scratched = self._photos + photos, self._scratched + scratched
        more = at_least(scratched, photos, all_scratched, total)
        fewer = at_least(photos - scratched, photos, total - all_scratched, total)
        return min(more, fewer) < ALPHA / 2


def at_least(hits: int, drawn: int, marked: int, total: int) -> float:
    """Of `drawn` from `total`, `marked` of them: the probability of so many hits, or more."""
    ways = _log_choose(total, drawn)
    return math.fsum(
        math.exp(_log_choose(marked, j) + _log_choose(total - marked, drawn - j) - ways)
        for j in range(max(hits, drawn + marked - total), min(drawn, marked) + 1)
    )


def _log_choose(total: int, some: int) -> float:
    return math.lgamma(total + 1) - math.lgamma(some + 1) - math.lgamma(total - some + 1)


def state_of(found: list[Moved], *, rate_moved: bool) -> State:
    """A camera explains everything else, so it comes first."""
    names = {one.statistic for one in found}
    if names & set(INPUTS):
        return "camera"
    if names:
        return "material"
    return "parts" if rate_moved else "steady"
