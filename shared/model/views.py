"""What the classifier looks at: the whole image, and tiles of it, each as one square view."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from PIL import Image

from shared.model.decode import Pixels
from shared.model.manifest import Preprocess

#: of Pillow, as open_clip names them
_FILTERS = {
    "crop_bilinear": Image.Resampling.BILINEAR,
    "crop_bicubic": Image.Resampling.BICUBIC,
}
#: more than a JPEG can measure
_UNREDUCED = 65_536


def make_views(pixels: Pixels, spec: Preprocess) -> Pixels:
    """RGB [height, width, 3] to uint8 [views, size, size, 3].

    Each view is squashed to a square, never cropped: a scratch at the border counts. Only a
    checkpoint that learned from open_clip's crops is shown them.
    """
    if spec.resize != "squash":
        return _central_square(pixels, spec.size, _FILTERS[spec.resize])[None]
    views = np.empty((spec.view_count, spec.size, spec.size, 3), np.uint8)
    for view, (top, bottom, left, right) in zip(
        views, windows(pixels.shape[0], pixels.shape[1], spec), strict=True
    ):
        _squash(pixels[top:bottom, left:right], view)
    return views


def min_side(spec: Preprocess) -> int:
    """The side, in pixels, below which a decoded image would lose detail the views still show."""
    if spec.resize != "squash":
        return _UNREDUCED
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


def _central_square(pixels: Pixels, size: int, resampling: Image.Resampling) -> Pixels:
    """open_clip's evaluation transform: shorter side to `size`, then the central square.

    Only that square is ever computed: a long strip would otherwise grow beyond all memory.
    """
    height, width = pixels.shape[:2]
    shorter = min(height, width)
    whole = int(size * width / shorter), int(size * height / shorter)
    left, top = (round((side - size) / 2) for side in whole)
    across, down = width / whole[0], height / whole[1]
    box = (left * across, top * down, (left + size) * across, (top + size) * down)
    return np.array(Image.fromarray(pixels).resize((size, size), resampling, box))
