"""What workers last saw of drift: a small report of each in Redis, and what follows for retraining.

scratch:drift   hash, worker name -> DriftReport
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from redis import Redis

DRIFT_KEY = "scratch:drift"
#: seconds after which a report says nothing about now
_STALE_S = 3 * 24 * 3600
#: windows in a row, of one worker, that make another material worth a training run
_PERSISTENT = 2


class DriftReport(BaseModel):
    """Of one worker's latest window. Another version's fields are ignored."""

    model_config = ConfigDict(frozen=True)

    worker: str
    model: str
    #: see `shared.model.drift.State`; a string, that newer workers may know more of them
    state: str
    #: windows in a row with this state
    windows: int
    #: unix time, seconds
    at: float
    #: that the window held
    images: int
    #: statistics that moved, most certain first
    moved: list[str] = []
    scratch_rate: float
    #: what the rate is held against; None while it is learned
    usual_rate: float | None = None

    def __str__(self) -> str:
        usual = "" if self.usual_rate is None else f" (usually {self.usual_rate:.1%})"
        return (
            f"{self.worker} with {self.model}: {self.state} for {self.windows} window(s); "
            f"of {self.images} images {self.scratch_rate:.1%} scratched{usual}"
            + (f"; moved: {', '.join(self.moved)}" if self.moved else "")
        )


@dataclass(frozen=True)
class Advice:
    """Whether to retrain by itself, and why."""

    retrain: bool
    why: str


class DriftStore:
    """Synchronous, for workers and the command line. Raises RedisError."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def write(self, report: DriftReport) -> None:
        """Also forgets workers that have been silent too long to matter."""
        self._redis.hset(DRIFT_KEY, report.worker, report.model_dump_json())
        stored: Any = self._redis.hgetall(DRIFT_KEY)
        gone = [name for name, data in stored.items() if not _recent(data, report.at)]
        if gone:
            self._redis.hdel(DRIFT_KEY, *gone)

    def read(self, *, now: float | None = None) -> list[DriftReport]:
        """Those of the last days, by name; what another version wrote unreadably is left out."""
        now = time.time() if now is None else now
        stored: Any = self._redis.hvals(DRIFT_KEY)
        reports = [report for data in stored if (report := _recent(data, now))]
        return sorted(reports, key=lambda report: report.worker)


def _recent(data: bytes, now: float) -> DriftReport | None:
    try:
        report = DriftReport.model_validate_json(data)
    except ValidationError:
        return None
    return report if report.at > now - _STALE_S else None


def advise(reports: list[DriftReport]) -> Advice:
    """Another material calls for a training run; a camera that is off holds it back: a model must
    not learn from spoiled photos. More scratches call for a look at the line, not at the model."""
    for report in reports:
        if report.state == "camera":
            return Advice(False, f"held back: the camera seems off. {report}")
    for report in reports:
        if report.state == "material" and report.windows >= _PERSISTENT:
            return Advice(True, f"the photos have changed. {report}")
    return Advice(False, "no lasting drift")
