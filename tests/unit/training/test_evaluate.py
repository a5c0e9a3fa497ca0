"""The numbers that go into the manifest."""

from __future__ import annotations

import numpy as np
import pytest

from training.evaluate import calibration_error, measure

LABELS = np.array([0, 0, 1, 1])


def test_a_perfect_and_sure_model() -> None:
    found = measure(np.array([0.0, 0.0, 1.0, 1.0]), LABELS, 10)
    assert found == {
        "auroc": 1,
        "accuracy": 1,
        "recall": 1,
        "specificity": 1,
        "ece": 0,
        "images": 4,
    }


def test_each_number_tells_its_own_mistake() -> None:
    found = measure(np.array([0.1, 0.8, 0.9, 0.7]), LABELS, 10)
    assert (found["accuracy"], found["recall"], found["specificity"]) == (0.75, 1, 0.5)
    assert found["auroc"] == 0.75


def test_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    confidence = np.array([0.9] * 10 + [0.6] * 10)
    right = np.array([True] * 9 + [False] + [True] * 8 + [False] * 2)
    assert calibration_error(confidence, right, 5) == pytest.approx(0.1)
