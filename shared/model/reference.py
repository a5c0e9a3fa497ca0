"""What the photos of a checkpoint were like: how far is this one from them, and do many differ?

The distance is Mahalanobis' under a covariance of low rank plus a diagonal, as in factor analysis:
the tower's features, standardised, along the principal axes of the training photos and across them.
It says "unlike" beyond a quantile of held-out photos, chosen so that a photo of the same kind is
called unlike with at most the stated probability (conformal outlier test; Bates et al. 2023, Annals
of Statistics 51(1), arXiv:2104.08279).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from shared.errors import CheckpointError
from shared.model.decode import Pixels
from shared.model.evidence import Floats

Doubles = NDArray[np.float64]

#: of a view as the model sees it; `size` is log2 of the pixels of the photo itself
INPUTS = ("brightness", "contrast", "sharpness", "size")
#: principal axes that are watched for drift, the widest first
WATCHED_AXES = 16
#: in the order of the columns of `quantiles`
STATISTICS = (*INPUTS, *(f"axis_{number}" for number in range(WATCHED_AXES)), "distance", "score")


@dataclass(frozen=True)
class Place:
    """Of one photo among those of the reference."""

    #: along the principal axes, in their standard deviations
    axes: Floats
    distance: float
    unlike: bool


@dataclass(frozen=True)
class Reference:
    """float32; F features, A axes, Q quantiles from 0 to 1."""

    #: [F] and [F]: standardise the features
    shift: Floats
    scale: Floats
    #: [A, F], orthonormal, and the standard deviation along each [A]
    axes: Floats
    spread: Floats
    #: [F], of what no axis explains
    rest: Floats
    #: [1], the distance from which on a photo is unlike all others; infinite where nobody can tell
    limit: Floats
    #: [answers, STATISTICS, Q] of held-out photos, by what the model answers (position in LABELS)
    quantiles: Floats
    #: [answers], the photos that these come from
    counts: Floats

    def place(self, features: Floats) -> Place:
        """[F]. einsum and not `@`: BLAS's threads would compete with the model's."""
        values = (features - self.shift) * self.scale
        along = np.einsum("af,f->a", self.axes, values)
        across = (values - np.einsum("af,a->f", self.axes, along)) / self.rest
        axes = along / self.spread
        distance = float(axes @ axes + across @ across)
        return Place(axes, distance, distance > float(self.limit[0]))

    def save(self, path: Path) -> None:
        save_file({name: np.ascontiguousarray(t) for name, t in self._stored().items()}, path)

    def _stored(self) -> dict[str, NDArray[np.generic]]:
        half = ("shift", "scale", "axes", "rest")
        return {
            name: values.astype(np.float16) if name in half else values
            for name, values in vars(self).items()
        }

    @classmethod
    def load(cls, path: Path) -> Reference:
        """Raises CheckpointError."""
        try:
            found = cls(**{name: t.astype(np.float32) for name, t in load_file(path).items()})
            fits = (
                found.axes.shape == (len(found.spread), len(found.rest))
                and found.shift.shape == found.scale.shape == found.rest.shape
                and found.limit.shape == (1,)
                and found.quantiles.shape[:2] == (2, len(STATISTICS))
                and found.counts.shape == (2,)
            )
        except Exception as error:  # safetensors has errors of its own
            raise CheckpointError(f"{path} is not a reference: {error}") from error
        if not fits:
            raise CheckpointError(f"{path} is not a reference: its tensors do not fit together")
        return found


def input_statistics(views: Pixels, pixels: int) -> tuple[float, float, float, float]:
    """INPUTS of one photo: its views, uint8 [views, size, size, 3], and width times height.

    Brightness and contrast are mean and standard deviation of the grey values, sharpness the
    logarithm of the variance of their Laplacian (Pech-Pacheco et al. 2000, ICPR 3).
    """
    grey = cv2.cvtColor(views[0], cv2.COLOR_RGB2GRAY)
    _, edges = cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_16S))
    mean, deviation = cv2.meanStdDev(grey)
    return (
        float(mean[0, 0]),
        float(deviation[0, 0]),
        float(np.log1p(edges[0, 0] ** 2)),
        float(np.log2(max(pixels, 1))),
    )


def statistics(
    inputs: tuple[float, float, float, float], place: Place, prob_scratches: float
) -> Floats:
    """[STATISTICS] of one photo; axes that a reference of few photos lacks are 0."""
    found = np.zeros(len(STATISTICS), np.float32)
    found[: len(INPUTS)] = inputs
    axes = place.axes[:WATCHED_AXES]
    found[len(INPUTS) : len(INPUTS) + len(axes)] = axes
    found[-2:] = np.log(max(place.distance, 1e-6)), prob_scratches
    return found
