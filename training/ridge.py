"""A linear head by ridge regression of +-1 on the features, in closed form.

With hundreds of photos and some wrong labels it beats logistic regression and layers that are
trained step by step, and takes milliseconds (measured: docs/classifier.md). How strong the penalty
is, and how little the means of the maps count beside their maxima, is chosen by cross-validation;
so are slope and offset that make probabilities of its answers (Platt 1999).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import solve
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from threadpoolctl import threadpool_limits

from shared.model.classifier import Head
from shared.model.labels import NO_SCRATCHES, SCRATCHES
from training.features import Features
from training.params import RidgeParams

Doubles = NDArray[np.float64]
Labels = NDArray[np.int64]
Rows = NDArray[np.int64]

#: below this a feature says nothing, and dividing by it would magnify noise
LEAST_DEVIATION = 1e-3
#: of few photos more are learned from in each fold
_FOLDS, _FOLDS_OF_MANY, _MANY = 5, 3, 500


@dataclass(frozen=True)
class Photos:
    """What is learned from, a row a photo."""

    values: NDArray[np.float32]
    labels: Labels
    #: near-duplicates share it
    groups: NDArray[np.int64]
    #: of the features: which are means of maps
    means: NDArray[np.bool_]

    @classmethod
    def of(cls, features: Features, *splits: str) -> Self:
        chosen = np.isin(features.splits, splits)
        return cls(
            features.values[chosen],
            features.labels[chosen],
            features.groups[chosen],
            features.means,
        )

    def part(self, rows: Rows) -> Photos:
        return Photos(self.values[rows], self.labels[rows], self.groups[rows], self.means)

    def folds(self, count: int, seed: int) -> Iterator[tuple[Rows, Rows]]:
        """Rows to learn from, and rows to judge; near-duplicates on one side."""
        count = max(2, min(count, int(np.bincount(self.labels, minlength=2).min())))
        splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
        yield from splitter.split(np.zeros(len(self.labels)), self.labels, self.groups)


@dataclass(frozen=True)
class Choice:
    """How strong the penalty is, in features; and the weight of a mean beside a maximum."""

    penalty: float
    mean_weight: float


@dataclass(frozen=True)
class Learned:
    head: Head
    choice: Choice
    #: of every photo, by cross-validation: logit of `scratches` minus logit of `no_scratches`
    margins: Doubles


def learn(photos: Photos, params: RidgeParams, seed: int) -> Learned:
    """From all of `photos`. The same input gives the same head, on any number of cores."""
    with threadpool_limits(1):
        return _learn(photos, params, seed)


def _learn(photos: Photos, params: RidgeParams, seed: int) -> Learned:
    raw: dict[Choice, Doubles] = {}
    folds = _FOLDS if len(photos.labels) <= _MANY else _FOLDS_OF_MANY
    for rows, judged in photos.folds(folds, seed):
        for choice, head in _heads(photos.part(rows), params):
            scores = raw.setdefault(choice, np.zeros(len(photos.labels)))
            scores[judged] = head(photos.values[judged])
    scale = {choice: _platt(scores, photos.labels) for choice, scores in raw.items()}
    margins = {choice: scale[choice][0] * raw[choice] + scale[choice][1] for choice in raw}
    best = min(raw, key=lambda choice: float(losses(margins[choice], photos.labels).mean()))
    chosen = RidgeParams(penalties=(best.penalty,), mean_weights=(best.mean_weight,))
    ((_, head),) = _heads(photos, chosen)
    return Learned(head.scaled(*scale[best]), best, margins[best])


def choose(
    candidates: Sequence[Photos], params: RidgeParams, seed: int
) -> tuple[int, list[Learned]]:
    """Which of several looks at the same photos pays, cheapest first; and what each one learns.

    A dearer one must lose less, beyond the standard error of the difference between the photos.
    """
    learned = [learn(photos, params, seed) for photos in candidates]
    labels = candidates[0].labels
    best = 0
    for number in range(1, len(learned)):
        gain = losses(learned[best].margins, labels) - losses(learned[number].margins, labels)
        if gain.mean() > gain.std() / np.sqrt(len(gain)):
            best = number
    return best, learned


def losses(margins: Doubles, labels: Labels) -> Doubles:
    """Cross-entropy of each photo."""
    found: Doubles = np.logaddexp(0, -_signs(labels) * margins)
    return found


@dataclass(frozen=True)
class _Line:
    """From features to a margin."""

    shift: Doubles
    scale: Doubles
    weights: Doubles
    offset: float

    def __call__(self, values: NDArray[np.float32]) -> Doubles:
        found: Doubles = (values - self.shift) * self.scale @ self.weights + self.offset
        return found

    def scaled(self, slope: float, offset: float) -> Head:
        """Rounded to half precision, so that any storage keeps its answers."""
        head = Head(len(self.shift))
        halves = slope / 2 * self.weights
        bias = (slope * self.offset + offset) / 2
        tensors = {
            "shift": self.shift,
            "scale": self.scale,
            "layers.0.weight": np.stack([-halves, halves]),
            "layers.0.bias": np.array([-bias, bias]),
        }
        head.load_state_dict({name: torch.from_numpy(t).half() for name, t in tensors.items()})
        return head.eval()


def _heads(photos: Photos, params: RidgeParams) -> Iterator[tuple[Choice, _Line]]:
    """One for each choice."""
    shift = photos.values.mean(0, dtype=np.float64)
    scale = 1 / (photos.values.std(0, dtype=np.float64) + LEAST_DEVIATION)
    standard = (photos.values - shift) * scale
    signs = _signs(photos.labels)
    offset = float(signs.mean())
    for mean_weight in params.mean_weights:
        emphasis = np.where(photos.means, mean_weight, 1.0)
        weighted = standard * emphasis
        wide = weighted.shape[0] < weighted.shape[1]  # then the photos' products are the smaller
        products = weighted @ weighted.T if wide else weighted.T @ weighted
        target = signs - offset if wide else weighted.T @ (signs - offset)
        for penalty in params.penalties:
            strength = penalty * (emphasis**2).sum() * np.eye(len(products))
            solved = solve(products + strength, target, assume_a="pos")
            weights = emphasis * (weighted.T @ solved if wide else solved)
            yield Choice(penalty, mean_weight), _Line(shift, scale, weights, offset)


def _platt(scores: Doubles, labels: Labels) -> tuple[float, float]:
    """Slope and offset from scores to log-odds, with Platt's targets: never quite 0 or 1."""
    counts = np.bincount(labels, minlength=2)
    targets = np.where(labels == SCRATCHES, counts[1] + 1, 1) / (counts[labels] + 2)
    unit = scores.std() + LEAST_DEVIATION
    model = LogisticRegression(C=np.inf)
    model.fit(
        np.tile(scores / unit, 2)[:, None],
        np.repeat([SCRATCHES, NO_SCRATCHES], len(scores)),
        np.concatenate([targets, 1 - targets]),
    )
    return float(model.coef_[0, 0] / unit), float(model.intercept_[0])


def _signs(labels: Labels) -> Doubles:
    found: Doubles = np.where(labels == SCRATCHES, 1.0, -1.0)
    return found
