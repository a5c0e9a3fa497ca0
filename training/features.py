"""The table that `embed` writes and everything after reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Features:
    """A row an image, in the order of the index."""

    #: float32 [images, features]
    values: NDArray[np.float32]
    #: position in LABELS
    labels: NDArray[np.int64]
    #: train, validation or test
    splits: NDArray[np.str_]
    #: of the image file
    sha256: NDArray[np.str_]
    #: of near-duplicates, as in the index
    groups: NDArray[np.int64]
    #: of the features: which are means over the positions of a map
    means: NDArray[np.bool_]
    #: of the extractor
    identity: str

    def of(self, split: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Values and labels of one split."""
        chosen = self.splits == split
        return self.values[chosen], self.labels[chosen]

    def save(self, path: Path) -> None:
        np.savez(path, **vars(self))

    @classmethod
    def load(cls, path: Path) -> Features:
        with np.load(path, allow_pickle=False) as stored:
            arrays = dict(stored)
        return cls(**arrays | {"identity": str(arrays["identity"])})
