"""Large-scale light on a surface: fall-off, uneven shade, glossy highlights."""

import cv2
import numpy as np

from training.synthetic.arrays import (
    Colour,
    Image,
    Plane,
    Rng,
    chance,
    enlarge,
    ramp,
    smooth_noise,
    uniform,
)

_COARSE = (48, 48)  # light varies slowly, so it is computed on a small grid


def highlight(rng: Rng) -> Plane:
    """A soft mirror image of a lamp: a blob, or a long band when the lamp is a tube."""
    angle = uniform(rng, 0, np.pi)
    grid = np.linspace(-0.5, 0.5, _COARSE[0], dtype=np.float32)
    x, y = grid[None, :] - uniform(rng, -0.5, 0.5), grid[:, None] - uniform(rng, -0.5, 0.5)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    wide = uniform(rng, 0.07, 0.3)
    long = wide * uniform(rng, 1.0, 2.0) if chance(rng, 0.6) else 3.0
    blob = np.exp(-((across / wide) ** 2) - (along / long) ** 2)
    return np.asarray(blob, dtype=np.float32)


def light(rng: Rng, texture: Plane, colour: Colour, gloss: float) -> Image:
    """Lights a surface of one colour; `texture` is its brightness under even light, about 1."""
    size = (texture.shape[0], texture.shape[1])
    shade = 1 + ramp(_COARSE, uniform(rng, 0, 2 * np.pi)) * np.float32(uniform(rng, 0.1, 0.7))
    shade += smooth_noise(rng, _COARSE, (2, 2)) * np.float32(uniform(rng, 0.0, 0.08))
    gleam = np.zeros(_COARSE, dtype=np.float32)
    for _ in range(int(rng.integers(0, 3))):
        gleam += highlight(rng) * np.float32(gloss * uniform(rng, 0.05, 0.35))
    matt = texture * enlarge(np.asarray(shade, dtype=np.float32), size)
    glare = enlarge(gleam, size)
    warmth = (1.0, uniform(rng, 0.95, 1.0), 0.94)
    channels = [
        cv2.addWeighted(matt, own, glare, lamp, 0.0)
        for own, lamp in zip(colour, warmth, strict=True)
    ]
    return np.asarray(cv2.merge(channels), dtype=np.float32)
