"""Candidate against champion: better only beyond noise, and said plainly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from shared.comparison import Pairs
from shared.model.inspector import Verdict
from training.compare import Comparison, Decision, as_markdown, compare, decide

Rule = Callable[[int], float]


class Model:
    """The probability of scratches by the image's number."""

    def __init__(self, name: str, rule: Rule) -> None:
        self.manifest = SimpleNamespace(title=f"{name}@{'0' * 12}")
        self._rule = rule

    def inspect(self, data: bytes) -> Verdict:
        probability = self._rule(int(data))
        return Verdict(
            "scratches" if probability >= 0.5 else "no_scratches", 1 - probability, probability
        )


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    """Even ones are scratched."""
    files = [tmp_path / f"{n:03}" for n in range(200)]
    for number, file in enumerate(files):
        file.write_text(str(number))
    return files


def right_but_for(wrong: set[int]) -> Rule:
    def rule(number: int) -> float:
        scratched = (number % 2 == 0) != (number in wrong)
        return (0.6 if scratched else 0.1) + number / 1000

    return rule


def compared(images: list[Path], champion: Rule, candidate: Rule) -> Comparison:
    labels = ["scratches" if n % 2 == 0 else "no_scratches" for n in range(len(images))]
    models: list[Any] = [Model("old", champion), Model("new", candidate)]
    return compare(*models, images, labels)


def test_a_clear_gain_is_better(images: list[Path]) -> None:
    found = compared(images, right_but_for(set(range(30))), right_but_for({1, 2}))

    assert found.decision == "better"
    assert found.accuracy == (0.85, 0.99)
    assert (found.champion_only, found.candidate_only, found.images) == (0, 28, 200)
    assert found.accuracy_gain[0] > 0.05 and found.auroc_gain[0] > 0


def test_a_clear_loss_is_not_better(images: list[Path]) -> None:
    found = compared(images, right_but_for({1, 2}), right_but_for(set(range(30))))
    assert found.decision == "not better"


def test_the_same_answers_are_not_better(images: list[Path]) -> None:
    found = compared(images, right_but_for({1, 2}), right_but_for({1, 2}))
    assert found.decision == "not better"
    assert found.accuracy_gain == found.auroc_gain == (0, 0)


def test_a_few_images_of_difference_are_not_enough_evidence(images: list[Path]) -> None:
    found = compared(images, right_but_for({1, 2, 3, 4, 5}), right_but_for({1}))
    assert found.decision == "not enough evidence"


def test_equal_candidates_seldom_count_as_better() -> None:
    """Of 300 tests of equal models at most 5 % find one, by chance."""
    random = np.random.default_rng(0)
    wins = [int(random.binomial(40, 0.5)) for _ in range(300)]
    found = [decide(Pairs(100, 5, 40 - k, k), (-0.1, 0.1), (-0.1, 0.1)) for k in wins]
    assert found.count("better") / len(found) <= 0.05


def test_who_ranks_worse_beyond_noise_is_never_better() -> None:
    assert decide(Pairs(100, 5, 0, 20), (0.05, 0.2), (-0.2, -0.1)) == "not better"


def test_a_gain_too_small_to_matter_is_told_from_one_that_nobody_can_see() -> None:
    assert decide(Pairs(9000, 5, 9, 11), (-0.001, 0.002), (-0.1, 0.1)) == "not better"
    assert decide(Pairs(90, 5, 9, 11), (-0.05, 0.08), (-0.1, 0.1)) == "not enough evidence"


@pytest.mark.parametrize("decision", ["better", "not better", "not enough evidence"])
def test_the_report_says_the_verdict_and_what_to_do(decision: Decision) -> None:
    found = Comparison(
        champion="old@1", candidate="new@2", images=200, accuracy=(0.85, 0.99), auroc=(0.9, 0.95),
        accuracy_gain=(0.1, 0.2), auroc_gain=(-0.01, 0.1), champion_only=0, candidate_only=28,
        p_value=1e-6, decision=decision,
    )  # fmt: skip
    text = as_markdown(found)
    assert text.startswith(f"# Retraining: {decision}\n")
    assert ("scratch promote new`" in text) == (decision == "better")
    assert "200 test images" in text
    assert "| AUROC | 0.9000 | 0.9500 | -0.0100 to +0.1000 |" in text


def test_the_interval_repeats_and_ranks_agree_with_scikit_learn(images: list[Path]) -> None:
    found = compared(images, right_but_for({1, 2}), right_but_for({3}))
    again = compared(images, right_but_for({1, 2}), right_but_for({3}))
    truth = [n % 2 == 0 for n in range(200)]
    expected = roc_auc_score(truth, [right_but_for({3})(n) for n in range(200)])
    assert found == again
    assert found.auroc[1] == pytest.approx(expected)
