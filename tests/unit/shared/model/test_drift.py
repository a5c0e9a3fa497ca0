"""Windows of the same kind stay quiet, as rarely disturbed as stated; shifted ones are seen."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special
from scipy.stats import hypergeom, ks_2samp

from shared.model.drift import ALPHA, Moved, RateChart, at_least, kolmogorov, moved, state_of
from shared.model.reference import INPUTS, STATISTICS, Reference

WINDOW = 128
COUNT = 400
LEVELS = np.linspace(0, 1, 257)


def rows(rng: np.random.Generator, photos: int) -> np.ndarray:  # type: ignore[type-arg]
    """Skewed, tied and plain statistics."""
    found = rng.normal(0, 1, (photos, len(STATISTICS)))
    found[:, 0] = rng.gamma(2, 1, photos)
    found[:, INPUTS.index("size")] = rng.choice([18.0, 18.5, 20.0], photos)
    return found.astype(np.float32)


def reference(rng: np.random.Generator) -> Reference:
    none = np.zeros(1, np.float32)
    quantiles = [
        np.quantile(rows(rng, COUNT), LEVELS, axis=0, method="inverted_cdf").T for _ in range(2)
    ]
    return Reference(
        *[none] * 6,
        quantiles=np.stack(quantiles).astype(np.float32),
        counts=np.array([COUNT, COUNT], np.float32),
    )


def answers(rng: np.random.Generator, rate: float) -> np.ndarray:  # type: ignore[type-arg]
    return (rng.random(WINDOW) < rate).astype(int)


@pytest.mark.parametrize("rate", [0.5, 0.03])
def test_the_same_kind_of_photos_is_as_quiet_as_stated(rate: float) -> None:
    """However many of them are scratched; over windows and references that are drawn anew."""
    rng = np.random.default_rng(0)
    windows = 2000
    false = 0
    for number in range(windows):
        known = reference(rng) if number % 20 == 0 else known  # noqa: F821
        false += bool(moved(known, rows(rng, WINDOW), answers(rng, rate)))
    assert false <= 3 * ALPHA * windows


@pytest.mark.parametrize(("statistic", "by"), [("brightness", -1.2), ("axis_3", 1.0)])
def test_one_shifted_statistic_is_seen_in_one_window(statistic: str, by: float) -> None:
    rng = np.random.default_rng(1)
    known = reference(rng)
    for _ in range(50):
        window = rows(rng, WINDOW)
        window[:, STATISTICS.index(statistic)] += by
        assert moved(known, window, answers(rng, 0.5))[0].statistic == statistic


def test_it_is_the_test_of_kolmogorov_and_smirnov() -> None:
    rng = np.random.default_rng(2)
    known = reference(rng)
    window = rows(rng, WINDOW)
    window[:, 5] += 1.5
    scratched = np.ones(WINDOW, int)

    (found,) = moved(known, window, scratched)

    expected = ks_2samp(window[:, 5], known.quantiles[1, 5], method="asymp")
    assert found.distance == pytest.approx(expected.statistic)
    assert found.p_value == pytest.approx(expected.pvalue, rel=0.5)


def test_the_distributions_are_those_of_scipy() -> None:
    for x in (0.0, 0.29, 0.3, 0.5, 1.0, 2.4, 4.0):
        assert kolmogorov(x) == pytest.approx(scipy.special.kolmogorov(x), abs=1e-5)
    for hits, drawn, marked, total in (
        (0, 9, 3, 50),
        (3, 9, 12, 50),
        (9, 9, 12, 50),
        (8, 9, 49, 50),
    ):
        expected = hypergeom(total, marked, drawn).sf(hits - 1)
        assert at_least(hits, drawn, marked, total) == pytest.approx(expected, rel=1e-9)


def test_too_few_photos_are_held_against_nothing() -> None:
    rng = np.random.default_rng(3)
    window = rows(rng, 29) + 100
    assert moved(reference(rng), window, np.zeros(29, int)) == []


def charted(rng: np.random.Generator, rate: float) -> RateChart:
    chart = RateChart()
    while chart.centre is None:
        chart.learn(int(rng.binomial(256, rate)), 256)
    return chart


@pytest.mark.parametrize("rate", [0.0, 0.02, 0.3, 1.0])
def test_a_steady_rate_is_as_quiet_as_stated(rate: float) -> None:
    """Over centres that are themselves estimates."""
    rng = np.random.default_rng(4)
    windows = 3000
    out = sum(
        charted(rng, rate).out_of_control(int(rng.binomial(256, rate)), 256) for _ in range(windows)
    )
    assert out <= 2 * ALPHA * windows


@pytest.mark.parametrize(("usual", "now"), [(0.02, 0.12), (0.05, 0.2), (0.3, 0.1)])
def test_a_run_of_bad_or_good_parts_is_seen_in_one_window(usual: float, now: float) -> None:
    rng = np.random.default_rng(5)
    seen = [
        charted(rng, usual).out_of_control(int(rng.binomial(256, now)), 256) for _ in range(200)
    ]
    assert np.mean(seen) > 0.9


def test_before_its_centre_is_known_the_chart_says_nothing() -> None:
    chart = RateChart()
    chart.learn(0, 999)
    assert not chart.out_of_control(256, 256)
    chart.learn(0, 1)
    assert chart.centre == 0 and chart.out_of_control(256, 256)
    chart.learn(1000, 1000)  # the centre stays
    assert chart.centre == 0


@pytest.mark.parametrize(
    ("names", "rate_moved", "state"),
    [
        ([], False, "steady"),
        ([], True, "parts"),
        (["axis_1"], False, "material"),
        (["axis_1"], True, "material"),
        (["axis_1", "sharpness"], True, "camera"),
    ],
)
def test_what_moved_says_whose_fault_it_is(names: list[str], rate_moved: bool, state: str) -> None:
    found = [Moved(name, 0.5, 1e-9) for name in names]
    assert state_of(found, rate_moved=rate_moved) == state
