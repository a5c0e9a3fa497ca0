from __future__ import annotations

import numpy as np
import pytest

from training.params import ThresholdParams
from training.threshold import choose_threshold

PROBABILITIES = np.array([0.9, 0.8, 0.3, 0.6, 0.1])
LABELS = np.array([1, 1, 1, 0, 0])


@pytest.mark.parametrize(("cost", "threshold"), [(1, 0.5), (9, 0.1), (0.25, 0.8)])
def test_a_cost_decides_between_honest_probabilities(cost: float, threshold: float) -> None:
    found = choose_threshold(PROBABILITIES, LABELS, ThresholdParams(cost=cost))
    assert found == pytest.approx(threshold)


@pytest.mark.parametrize(("recall", "threshold"), [(1, 0.2), (0.66, 0.7), (0.3, 0.85)])
def test_a_recall_takes_the_highest_threshold_that_reaches_it(
    recall: float, threshold: float
) -> None:
    found = choose_threshold(PROBABILITIES, LABELS, ThresholdParams(recall=recall))
    assert found == pytest.approx(threshold)
    assert (PROBABILITIES[LABELS == 1] >= found).mean() >= recall


@pytest.mark.parametrize("score", [0.0, 1.0])
def test_a_threshold_never_turns_all_answers_into_one(score: float) -> None:
    found = choose_threshold(np.full(5, score), LABELS, ThresholdParams(recall=1))
    assert 0 < found < 1
