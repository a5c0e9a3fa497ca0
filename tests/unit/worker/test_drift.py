"""The monitor: windows, states in a row, and nothing that could hold up a task."""

from __future__ import annotations

import io
import threading
from types import SimpleNamespace
from typing import Any

import fakeredis
import numpy as np
import pytest
from PIL import Image
from redis.exceptions import ConnectionError as RedisAway

from shared.drift import DriftReport, DriftStore
from shared.model.inspector import Verdict
from shared.model.reference import STATISTICS, Place, Reference, input_statistics, statistics
from worker.drift import DriftMonitor, Sample

SIDE = 32


def photo(rng: np.random.Generator, dark: bool = False) -> np.ndarray:  # type: ignore[type-arg]
    pixels = rng.integers(0, 256, (1, SIDE, SIDE, 3)) * rng.uniform(0.5, 1)
    return (pixels / (4 if dark else 1)).astype(np.uint8)


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 4)).save(buffer, "PNG")
    return buffer.getvalue()


PNG = png()


def place(rng: np.random.Generator, elsewhere: bool = False) -> Place:
    axes = rng.normal(0, 1, 16).astype(np.float32) + np.float32(3 * elsewhere)
    return Place(axes, float(axes @ axes), unlike=False)


@pytest.fixture(scope="module")
def reference() -> Reference:
    rng = np.random.default_rng(0)
    rows = np.stack(
        [statistics(input_statistics(photo(rng), 32), place(rng), 0.5) for _ in range(400)]
    )
    quantiles = np.quantile(rows, np.linspace(0, 1, 257), axis=0, method="inverted_cdf").T
    none = np.zeros(1, np.float32)
    counts = np.array([400, 400], np.float32)
    both = np.stack([quantiles, quantiles]).astype(np.float32)
    return Reference(*[none] * 6, quantiles=both, counts=counts)


class Traffic:
    """A monitor without a thread of its own, fed photo by photo."""

    def __init__(self, reference: Reference, store: Any = None) -> None:
        self.now = 1000.0
        self.reports: list[DriftReport] = []
        self.rng = np.random.default_rng(1)
        self.store = store or DriftStore(fakeredis.FakeRedis())
        self.title = "steel@1"
        self._reference = reference
        self.monitor = DriftMonitor(
            self.store,
            lambda report, moved: self.reports.append(report),
            name=lambda: "w@h",
            window=128,
            window_s=600,
            every_s=0,
            clock=lambda: self.now,
        )

    def sample(self, *, rate: float = 0.1, dark: bool = False, elsewhere: bool = False) -> Sample:
        scratched = self.rng.random() < rate
        verdict = Verdict("scratches" if scratched else "no_scratches", 0.5, 0.5)
        model: Any = SimpleNamespace(title=self.title, reference=self._reference)
        where = place(self.rng, elsewhere)
        return Sample(model, photo(self.rng, dark), PNG, verdict, where)

    def feed(self, photos: int, **kind: Any) -> list[str]:
        """The states of the windows that closed."""
        before = len(self.reports)
        for _ in range(photos):
            self.monitor._look([self.sample(**kind)])
        return [report.state for report in self.reports[before:]]


@pytest.fixture
def traffic(reference: Reference) -> Traffic:
    return Traffic(reference)


def test_steady_traffic_stays_quiet_and_is_reported(traffic: Traffic) -> None:
    assert traffic.feed(128 * 30) == ["steady"] * 30

    (report,) = traffic.store.read(now=traffic.now)
    assert (report.worker, report.model, report.windows) == ("w@h", "steel@1", 30)
    assert report.usual_rate == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        ({"dark": True}, "camera"),
        ({"dark": True, "elsewhere": True, "rate": 0.9}, "camera"),
        ({"elsewhere": True}, "material"),
        ({"rate": 0.6}, "parts"),
    ],
)
def test_each_kind_of_drift_is_named_within_a_window(
    traffic: Traffic, kind: dict[str, Any], state: str
) -> None:
    traffic.feed(128 * 10)

    assert traffic.feed(256, **kind) == [state, state]
    assert [report.windows for report in traffic.reports[-2:]] == [1, 2]
    assert traffic.feed(128) == ["steady"]


def test_a_run_of_bad_parts_is_not_learned_as_usual(traffic: Traffic) -> None:
    traffic.feed(128 * 10)
    usual = traffic.reports[-1].usual_rate

    traffic.feed(128 * 10, rate=0.6)

    assert traffic.reports[-1].usual_rate == usual


def test_time_closes_a_window_that_has_enough(traffic: Traffic) -> None:
    traffic.feed(59)
    traffic.now += 601
    assert traffic.feed(1) == ["steady"]
    assert traffic.reports[0].images == 60
    traffic.now += 601
    assert traffic.feed(59) == []


def test_another_model_begins_anew(traffic: Traffic) -> None:
    traffic.feed(128 * 9)
    traffic.feed(100, dark=True)
    traffic.title = "paint@2"

    assert traffic.feed(128) == ["steady"]
    assert traffic.reports[-1].model == "paint@2" and traffic.reports[-1].usual_rate is None


def test_a_redis_that_is_away_loses_the_report_alone(reference: Reference) -> None:
    class Away:
        def write(self, report: DriftReport) -> None:
            raise RedisAway

    traffic = Traffic(reference, Away())
    assert traffic.feed(256) == ["steady", "steady"]


def test_a_few_photos_a_second_are_looked_at(traffic: Traffic) -> None:
    taken: list[float] = []
    monitor = traffic.monitor
    monitor._every_s = 0.05
    monitor._lane.put = lambda sample, size: taken.append(traffic.now) or True  # type: ignore[method-assign,func-returns-value]
    for _ in range(1000):  # ten seconds at 100 images a second
        traffic.now += 0.01
        monitor.note(traffic.sample())
    assert 150 <= len(taken) <= 201


def test_a_photo_that_cannot_be_looked_at_ends_nothing(traffic: Traffic) -> None:
    done = threading.Event()
    traffic.monitor._closed = lambda report, moved: done.set()
    traffic.monitor.start()
    bad = traffic.sample()
    traffic.monitor._lane.put(Sample(bad.model, bad.views, b"?", bad.verdict, bad.place), 1)
    for _ in range(128):
        while not traffic.monitor._lane.put(traffic.sample(), 1):
            pass
    assert done.wait(20)
    traffic.monitor.close()


def test_every_statistic_of_a_sample_has_its_place(
    traffic: Traffic, reference: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[Any] = []

    def look(known: Reference, window: Any, answers: Any) -> list[Any]:
        rows.append(window)
        return []

    monkeypatch.setattr("worker.drift.moved", look)
    traffic.feed(128)
    assert rows[0].shape == (128, len(STATISTICS))
    assert rows[0][0, STATISTICS.index("size")] == np.log2(8 * 4)
