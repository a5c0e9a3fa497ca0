"""The test split as the model answered it, whole and by source folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from shared.model.labels import SCRATCHES
from training.measures import Floats, Interval, Labels, share_interval


@dataclass(frozen=True)
class Judged:
    """The test split, a row a photo."""

    #: below the root of the index
    files: tuple[str, ...]
    #: of scratches
    probabilities: Floats
    labels: Labels

    def where(self, chosen: NDArray[np.bool_]) -> Judged:
        files = tuple(np.array(self.files)[chosen].tolist())
        return Judged(files, self.probabilities[chosen], self.labels[chosen])


@dataclass(frozen=True)
class Slice:
    """The photos of one source folder. A rate is None where no photo could count for it."""

    folder: str
    photos: int
    scratched: int
    recall: float | None
    specificity: float | None
    #: of the share of right answers
    accuracy: float
    interval: Interval


def slices(judged: Judged, threshold: float) -> list[Slice]:
    """By the folders below scratches/ and no_scratches/, worst first."""
    folders = np.array([PurePosixPath(*PurePosixPath(f).parts[1:-1]) for f in judged.files], str)
    found = []
    for folder in sorted(set(folders.tolist())):
        part = judged.where(folders == folder)
        truth = part.labels == SCRATCHES
        right = (part.probabilities >= threshold) == truth
        found.append(
            Slice(
                folder=folder,
                photos=len(truth),
                scratched=int(truth.sum()),
                recall=float(right[truth].mean()) if truth.any() else None,
                specificity=float(right[~truth].mean()) if not truth.all() else None,
                accuracy=float(right.mean()),
                interval=share_interval(int(right.sum()), len(right)),
            )
        )
    return sorted(found, key=lambda one: one.accuracy)
