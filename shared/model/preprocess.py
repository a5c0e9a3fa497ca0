"""The first of the three verbs: encoded image to views, the one way in training and in serving."""

from __future__ import annotations

from dataclasses import dataclass

from shared.model.decode import Pixels, decode
from shared.model.manifest import Preprocess
from shared.model.views import make_views, min_side


@dataclass(frozen=True)
class ImageLimits:
    max_pixels: int = 50_000_000
    max_side: int = 20_000


def preprocess(data: bytes, spec: Preprocess, limits: ImageLimits) -> Pixels:
    """Encoded image to views, uint8 [views, size, size, 3]. Raises ImageError."""
    pixels = decode(
        data,
        min_side=min_side(spec),
        max_pixels=limits.max_pixels,
        max_side=limits.max_side,
    )
    return make_views(pixels, spec)
