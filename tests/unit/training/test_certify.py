"""The promises hold as often as they say, and nothing is promised from too few photos."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from shared.model.labels import NO_SCRATCHES, SCRATCHES
from training.certify import certificate, errors_allowed, images_needed, independent
from training.dataset import Index, IndexedImage
from training.features import Features
from training.measures import share_interval
from training.params import CertifyParams

PARAMS = CertifyParams(missed=0.05, false_alarms=0.1, confidence=0.9)
#: how far the scores of scratched photos lie above those of clean ones
APART = 2.0


def scores(rng: np.random.Generator, images: int) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    """Of so many photos of each class, as probabilities."""
    margins = np.concatenate([rng.normal(0, 1, images), rng.normal(APART, 1, images)])
    labels = np.repeat([NO_SCRATCHES, SCRATCHES], images)
    return norm.cdf(margins - APART / 2), labels


def true_rates(clean_below: float, scratched_from: float) -> tuple[float, float]:
    """Missed scratches and false alarms of the distributions that `scores` draws from."""
    low, high = norm.ppf([clean_below, scratched_from]) + APART / 2
    return float(norm.cdf(low - APART)), float(norm.sf(high))


def broken_promises(images: int, candidates: int, repeats: int = 500) -> float:
    """The share of calibrations after which either true rate is above its promise.

    With several candidates, of equal worth, the one is kept that looks best on the same photos.
    """
    broken = 0
    for seed in range(repeats):
        rng = np.random.default_rng(seed)
        tried = [
            certificate(*scores(rng, images), PARAMS, candidates=candidates)
            for _ in range(candidates)
        ]
        best = max(tried, key=lambda one: (one.clean_below or 0) - (one.scratched_from or 1))
        assert best.clean_below is not None and best.scratched_from is not None
        missed, alarms = true_rates(best.clean_below, best.scratched_from)
        broken += missed > PARAMS.missed or alarms > PARAMS.false_alarms
    return broken / repeats


@pytest.mark.parametrize(("images", "candidates"), [(120, 1), (400, 1), (400, 3)])
def test_a_promise_is_broken_as_rarely_as_it_says(images: int, candidates: int) -> None:
    share = broken_promises(images, candidates)

    assert share <= 1 - PARAMS.confidence
    if candidates == 1:
        assert share > 0.02  # nor is it kept by answering nothing


def test_without_paying_for_a_choice_the_promise_breaks() -> None:
    """The test above would notice: thresholds of the observed rate are too bold half the time."""
    rng = np.random.default_rng(0)
    broken = 0
    for _ in range(300):
        p, labels = scores(rng, 400)
        low, high = np.quantile(p[labels == SCRATCHES], 0.05), np.quantile(p[labels == 0], 0.9)
        missed, alarms = true_rates(float(low), float(high))
        broken += missed > PARAMS.missed or alarms > PARAMS.false_alarms
    assert broken / 300 > 0.5


@pytest.mark.parametrize(("images", "rate"), [(299, 0.01), (500, 0.01), (500, 0.05), (2000, 0.03)])
def test_the_errors_that_are_allowed_have_clopper_and_pearsons_limit(
    images: int, rate: float
) -> None:
    allowed = errors_allowed(images, rate, risk=0.025)  # the upper end of a 95 % interval
    if allowed >= 0:
        assert share_interval(allowed, images)[1] <= rate
    assert share_interval(allowed + 1, images)[1] > rate


def test_so_many_photos_are_needed_and_no_fewer() -> None:
    needed = images_needed(0.01, 0.05)

    assert needed == 299  # the rule of three
    assert errors_allowed(needed, 0.01, 0.05) == 0
    assert errors_allowed(needed - 1, 0.01, 0.05) == -1


def test_too_few_photos_promise_nothing_and_say_how_many_would() -> None:
    p, labels = scores(np.random.default_rng(0), 20)

    found = certificate(p, labels, PARAMS, candidates=2)

    assert found.clean_below is None and found.scratched_from is None
    assert found.missed.images == 20 and found.missed.needed == images_needed(0.05, 0.025) == 72


def test_of_one_class_alone_its_promise_can_be_made() -> None:
    p, labels = scores(np.random.default_rng(0), 200)
    kept = (labels == SCRATCHES) | (np.arange(len(labels)) < 3)

    found = certificate(p[kept], labels[kept], PARAMS, candidates=1)

    assert found.clean_below is not None and found.scratched_from is None
    assert found.false_alarms.images == 3


def test_a_model_that_is_never_wrong_leaves_nothing_to_review() -> None:
    labels = np.repeat([NO_SCRATCHES, SCRATCHES], 500)
    p = np.where(labels == SCRATCHES, 0.9, 0.1) + np.linspace(0, 0.01, 1000)

    found = certificate(p, labels, PARAMS, candidates=1)

    assert found.clean_below == found.scratched_from


def test_scores_that_are_all_equal_promise_no_alarm() -> None:
    labels = np.repeat([NO_SCRATCHES, SCRATCHES], 500)

    found = certificate(np.ones(1000), labels, PARAMS, candidates=1)

    assert found.scratched_from is not None and found.scratched_from > 1
    assert found.clean_below == 1  # and no probability lies below


def features(splits: list[str]) -> Features:
    count = len(splits)
    names = np.array([f"{number:02}" for number in range(count)])
    zeros = np.zeros(count, np.int64)
    values, means = np.zeros((count, 1), np.float32), np.zeros(1, np.bool_)
    return Features(values, zeros, np.array(splits), names, zeros, means, "x")


def test_near_duplicates_count_once_and_other_splits_not_at_all(tmp_path: object) -> None:
    splits = ["validation", "validation", "test", "validation", "train"]
    images = tuple(
        IndexedImage(file="x", label="scratches", sha256=f"{n:02}", split=split, group=group)  # type: ignore[arg-type]
        for n, (split, group) in enumerate(zip(splits, [7, 7, 1, 2, 3], strict=True))
    )

    chosen = independent(features(splits), Index.model_validate({"root": "x", "images": images}))

    assert chosen.tolist() == [True, False, False, True, False]
