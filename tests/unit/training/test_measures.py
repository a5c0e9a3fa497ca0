"""The numbers that go into manifest and report."""

from __future__ import annotations

import numpy as np
import pytest

from training.measures import Floats, Labels, calibration_error, intervals, measure, share_interval

LABELS = np.array([0, 0, 1, 1])


def test_a_perfect_and_sure_model() -> None:
    found = measure(np.array([0.0, 0.0, 1.0, 1.0]), LABELS, 0.5, 10)
    best = dict.fromkeys(found, 1) | {"ece": 0, "brier": 0}
    assert found == best


def test_each_number_tells_its_own_mistake() -> None:
    found = measure(np.array([0.1, 0.8, 0.9, 0.7]), LABELS, 0.5, 10)
    assert (found["accuracy"], found["recall"], found["specificity"]) == (0.75, 1, 0.5)
    assert (found["auroc"], found["balanced_accuracy"]) == (0.75, 0.75)
    assert found["precision"] == pytest.approx(2 / 3)
    assert found["average_precision"] == pytest.approx((1 + 2 / 3) / 2)
    assert found["brier"] == pytest.approx((0.01 + 0.64 + 0.01 + 0.09) / 4)


def test_the_threshold_decides() -> None:
    strict = measure(np.array([0.1, 0.8, 0.9, 0.7]), LABELS, 0.85, 10)
    assert (strict["recall"], strict["specificity"], strict["precision"]) == (0.5, 1, 1)
    silent = measure(np.array([0.1, 0.8, 0.9, 0.7]), LABELS, 0.95, 10)
    assert (silent["recall"], silent["precision"]) == (0, 1)
    assert silent["ece"] == strict["ece"]  # honesty is no matter of the threshold


def test_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    probabilities = np.array([0.9] * 10 + [0.4] * 10)
    truth = np.array([True] * 9 + [False] + [False] * 8 + [True] * 2)
    assert calibration_error(probabilities, truth, 5) == pytest.approx(0.1)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    labels, covered = np.arange(100) % 2, 0
    for seed in range(40):
        found = intervals(rng.normal(labels, 1), labels, _gap, 200, seed)["gap"]
        covered += found[0] <= 1 <= found[1]
        assert found[1] - found[0] == pytest.approx(4 * 0.2, rel=0.4)
    assert covered >= 34


def _gap(values: Floats, labels: Labels) -> dict[str, float]:
    return {"gap": float(values[labels == 1].mean() - values[labels == 0].mean())}


def test_resamples_keep_the_classes() -> None:
    counts = []

    def count(probabilities: Floats, labels: Labels) -> dict[str, float]:
        counts.append(labels.sum())
        assert (probabilities == labels).all()
        return {"x": 1.0}

    labels = np.array([0] * 7 + [1] * 3)
    intervals(labels.astype(float), labels, count, 20)
    assert counts == [3] * 20


def test_a_share_of_all_still_has_an_interval() -> None:
    low, high = share_interval(20, 20)
    assert (low, high) == (pytest.approx(0.8316, abs=1e-4), 1)
