"""A head in closed form: it finds what is there, knows how sure it is, and repeats itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import expit
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score

from training.params import RidgeParams
from training.ridge import Choice, Photos, choose, learn, losses
from training.train import logits_of

PARAMS = RidgeParams()


def noisy(count: int, width: int, separation: float, seed: int = 0) -> Photos:
    """Only the first feature tells anything; the second half are means."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    values = rng.normal(5, 2, (count, width))
    values[:, 0] += labels * separation
    means = np.arange(width) >= width // 2
    return Photos(values.astype(np.float32), labels, np.arange(count), means)


def margins(photos: Photos, params: RidgeParams = PARAMS) -> np.ndarray:  # type: ignore[type-arg]
    logits = logits_of(learn(photos, params, 0).head, torch.from_numpy(photos.values)).numpy()
    found: np.ndarray = logits[:, 1] - logits[:, 0]  # type: ignore[type-arg]
    return found


@pytest.mark.parametrize("width", [20, 300])  # fewer features than photos, and more
def test_it_is_ridge_regression(width: int) -> None:
    photos = noisy(100, width, 3)
    only = RidgeParams(penalties=(0.5,), mean_weights=(1,))
    standard = (photos.values - photos.values.mean(0)) / photos.values.std(0)
    theirs = Ridge(alpha=0.5 * width).fit(standard, photos.labels * 2 - 1).predict(standard)
    assert np.corrcoef(margins(photos, only), theirs)[0, 1] > 0.999


def test_its_probabilities_are_honest() -> None:
    photos = noisy(1000, 30, 2.5)
    learned = learn(photos, PARAMS, 0)
    fresh = noisy(4000, 30, 2.5, seed=1)
    logits = logits_of(learned.head, torch.from_numpy(fresh.values)).numpy()
    sure = expit(logits[:, 1] - logits[:, 0])
    for low in (0.1, 0.3, 0.5, 0.7):
        chosen = (sure >= low) & (sure < low + 0.2)
        assert fresh.labels[chosen].mean() == pytest.approx(sure[chosen].mean(), abs=0.08)


def test_cross_validated_margins_know_nothing_of_the_judged_photo() -> None:
    learned = learn(noisy(60, 300, 0), PARAMS, 0)
    assert roc_auc_score(noisy(60, 300, 0).labels, learned.margins) < 0.7


def test_means_that_say_nothing_are_weakened() -> None:
    photos = noisy(120, 400, 2.5)
    assert learn(photos, PARAMS, 0).choice.mean_weight == 0.25
    told = replace(photos, means=~photos.means)
    assert learn(told, PARAMS, 0).choice.mean_weight == 1


def test_it_repeats_itself() -> None:
    first, second = (learn(noisy(80, 40, 1), PARAMS, 3).head.state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_class_ten_times_rarer_is_still_told_apart() -> None:
    photos = noisy(440, 30, 5)
    kept = np.flatnonzero((photos.labels == 0) | (np.arange(440) % 22 == 1))
    few = photos.part(kept)
    assert roc_auc_score(few.labels, learn(few, PARAMS, 0).margins) > 0.9


def test_a_dearer_look_must_pay_beyond_noise() -> None:
    blind, seeing = noisy(100, 30, 0), noisy(100, 30, 6)
    assert choose([blind, seeing], PARAMS, 0)[0] == 1
    assert choose([seeing, blind], PARAMS, 0)[0] == 0
    assert choose([seeing, seeing], PARAMS, 0)[0] == 0


def test_losses_are_cross_entropies() -> None:
    found = losses(np.array([0.0, 3.0]), np.array([1, 0]))
    np.testing.assert_allclose(found, [np.log(2), -np.log(1 - expit(3))])


def test_a_feature_that_never_varies_does_no_harm() -> None:
    photos = noisy(50, 10, 4)
    photos.values[:, 3] = 7
    assert np.isfinite(margins(photos)).all()
    assert learn(photos, PARAMS, 0).choice in {
        Choice(p, w) for p in PARAMS.penalties for w in PARAMS.mean_weights
    }


def test_three_photos_of_a_class_are_enough_to_begin_with() -> None:
    """Such is what one fold may leave of a set of the least size."""
    photos = noisy(30, 40, 3).part(np.array([0, 2, 4, 6, 8, 1, 3, 5]))
    assert np.isfinite(margins(photos)).all()
