"""The test split by verdict: what `certify` promised, on photos that chose nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.model.labels import SCRATCHES
from shared.model.manifest import Certificate
from shared.model.ruling import promises, rule
from training.judged import Judged
from training.measures import Interval, share_interval


@dataclass(frozen=True)
class Ruled:
    """Photos by truth and verdict."""

    certificate: Certificate
    #: (truth is scratched, verdict) to photos
    counts: dict[tuple[bool, str], int]

    def count(self, scratched: bool, verdict: str) -> int:
        return self.counts.get((scratched, verdict), 0)

    def _of(self, scratched: bool) -> int:
        return sum(count for (truth, _), count in self.counts.items() if truth == scratched)

    @property
    def missed(self) -> Interval:
        """Of the share of scratched photos that were called clean, 95 %."""
        return share_interval(self.count(True, "clean"), self._of(True))

    @property
    def false_alarms(self) -> Interval:
        return share_interval(self.count(False, "scratched"), self._of(False))

    @property
    def coverage(self) -> float:
        """Share of the photos that need no person."""
        review = self.count(True, "review") + self.count(False, "review")
        return 1 - review / sum(self.counts.values())

    @property
    def error(self) -> float:
        """Wrong ones among those; of none, none is."""
        wrong = self.count(True, "clean") + self.count(False, "scratched")
        return wrong / max(1.0, self.coverage * sum(self.counts.values()))

    @property
    def promises(self) -> tuple[str, str]:
        return promises(self.certificate)

    def metrics(self) -> dict[str, float]:
        found = {
            "verdict_missed": self.count(True, "clean") / self._of(True),
            "verdict_false_alarms": self.count(False, "scratched") / self._of(False),
            "verdict_coverage": self.coverage,
        }
        return {name: round(value, 5) for name, value in found.items()}


def rule_all(judged: Judged, certificate: Certificate, unlike: NDArray[np.bool_]) -> Ruled:
    """As a worker would; `unlike`: of each photo."""
    counts: dict[tuple[bool, str], int] = {}
    truth = (judged.labels == SCRATCHES).tolist()
    for scratched, probability, far in zip(
        truth, judged.probabilities.tolist(), unlike.tolist(), strict=True
    ):
        key = (scratched, rule(certificate, probability, unlike=far).verdict)
        counts[key] = counts.get(key, 0) + 1
    return Ruled(certificate, counts)
