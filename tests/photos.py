"""Small images for tests, made on the spot, and real ones where this machine has them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

#: hot-rolled steel beside the project on developers' machines and CI; never part of it
STEEL = Path(__file__).parents[2] / "shared" / "data" / "steel_neu"


def gradient(mode: str = "RGB", size: tuple[int, int] = (96, 64), seed: int = 0) -> Image.Image:
    """A smooth picture with a little noise, different for every seed."""
    width, height = size
    rng = np.random.default_rng(seed)
    ramp = np.linspace(40, 200, width)[None, :, None] + np.linspace(0, 30, height)[:, None, None]
    pixels = ramp + rng.normal(0, 4, (height, width, 3))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).convert(mode)


def encoded(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def jpeg(seed: int = 0) -> bytes:
    return encoded(gradient(seed=seed), quality=90)


def steel(label: str, count: int) -> list[Path]:
    if not STEEL.is_dir():
        pytest.skip(f"no real photos of steel at {STEEL}")
    return sorted((STEEL / label).iterdir())[:count]
