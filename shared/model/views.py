"""What the classifier looks at: the whole image, and tiles of it, each as one square view."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from shared.model.decode import Pixels
from shared.model.manifest import Preprocess


def make_views(pixels: Pixels, spec: Preprocess) -> Pixels:
    """RGB [height, width, 3] to uint8 [views, size, size, 3].

    Each view is squashed to a square, never cropped: a scratch at the border counts.
    """
    views = np.empty((spec.view_count, spec.size, spec.size, 3), np.uint8)
    for view, (top, bottom, left, right) in zip(
        views, windows(pixels.shape[0], pixels.shape[1], spec), strict=True
    ):
        _squash(pixels[top:bottom, left:right], view)
    return views


def min_side(spec: Preprocess) -> int:
    """The side, in pixels, below which a decoded image would lose detail the views still show."""
    return spec.size * max(spec.grids)


def windows(height: int, width: int, spec: Preprocess) -> list[tuple[int, int, int, int]]:
    """(top, bottom, left, right) of every view, in the order of the views."""
    found = []
    for grid in spec.grids:
        rows = _intervals(height, grid, spec.overlap)
        columns = _intervals(width, grid, spec.overlap)
        found += [(*row, *column) for row in rows for column in columns]
    return found


def _intervals(length: int, parts: int, overlap: float) -> list[tuple[int, int]]:
    """`parts` equal intervals that cover `length`; neighbours share `overlap` of their length."""
    span = length / (parts - (parts - 1) * overlap)
    starts = [part * span * (1 - overlap) for part in range(parts)]
    return [
        (min(int(start), length - 1), max(min(round(start + span), length), int(start) + 1))
        for start in starts
    ]


def _squash(pixels: Pixels, out: Pixels) -> None:
    size = out.shape[0]
    height, width = pixels.shape[:2]
    if height > size or width > size:  # else a thin line could fall between the sampled points
        smaller = min(width, size), min(height, size)
        small: Any = cv2.resize(pixels, smaller, interpolation=cv2.INTER_AREA)
        pixels = small
    cv2.resize(pixels, (size, size), dst=out, interpolation=cv2.INTER_LINEAR)
