"""Numbers that say how good probabilities are, and how sure we may be of each."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn import config_context
from sklearn.metrics import average_precision_score, roc_auc_score

from shared.model.labels import NO_SCRATCHES, SCRATCHES

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
#: low and high end, 95 % of the time around the truth
Interval = tuple[float, float]
_CONFIDENCE = 0.95


def measure(probabilities: Floats, labels: Labels, threshold: float, bins: int) -> dict[str, float]:
    """`probabilities` are of scratches; both labels must occur."""
    predicted, truth = probabilities >= threshold, labels == SCRATCHES
    right = predicted == truth
    recall = float(right[truth].mean())
    specificity = float(right[labels == NO_SCRATCHES].mean())
    return {
        "auroc": float(roc_auc_score(truth, probabilities)),
        "average_precision": float(average_precision_score(truth, probabilities)),
        "accuracy": float(right.mean()),
        "balanced_accuracy": (recall + specificity) / 2,
        "recall": recall,
        "specificity": specificity,
        # Of no alarm at all none is wrong.
        "precision": float(truth[predicted].mean()) if predicted.any() else 1.0,
        "ece": calibration_error(probabilities, truth, bins),
        "brier": float(((probabilities - truth) ** 2).mean()),
    }


def calibration_error(probabilities: Floats, truth: NDArray[np.bool_], bins: int) -> float:
    """Mean gap between confidence and accuracy, over equal bins of confidence from 0.5 to 1."""
    confidence = np.maximum(probabilities, 1 - probabilities)
    right = (probabilities >= 0.5) == truth
    which = np.minimum(((confidence - 0.5) * 2 * bins).astype(int), bins - 1)
    gaps = [
        abs(confidence[which == b].mean() - right[which == b].mean()) * (which == b).mean()
        for b in np.unique(which)
    ]
    return float(sum(gaps))


def intervals(
    probabilities: Floats,
    labels: Labels,
    statistics: Callable[[Floats, Labels], dict[str, float]],
    resamples: int,
    seed: int = 0,
) -> dict[str, Interval]:
    """Stratified bootstrap: photos are drawn anew within each class; percentiles of what follows.

    Where no photo is wrong, no resample is either, and the interval has no width: shares are
    better bounded by `share_interval`.
    """
    rng = np.random.default_rng(seed)
    classes = [np.flatnonzero(labels == label) for label in (NO_SCRATCHES, SCRATCHES)]
    found: dict[str, list[float]] = {}
    with config_context(assume_finite=True, skip_parameter_validation=True):  # they are, each time
        for _ in range(resamples):
            rows = np.concatenate([rng.choice(members, len(members)) for members in classes])
            for name, value in statistics(probabilities[rows], labels[rows]).items():
                found.setdefault(name, []).append(value)
    ends = (50 * (1 - _CONFIDENCE), 50 * (1 + _CONFIDENCE))
    return {
        name: (float(low), float(high))
        for name, values in found.items()
        for low, high in [np.percentile(values, ends)]
    }


def share_interval(count: int, total: int) -> Interval:
    """Of a share of independent photos (Clopper and Pearson 1934): never of zero width."""
    found = binomtest(count, total).proportion_ci(_CONFIDENCE, "exact")
    return float(found.low), float(found.high)
