"""A single groove: its path over the surface and its cross-section under a light."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.synthetic.arrays import Plane, Points, Rng, bezier, uniform

_STEP = 0.7  # pixels between path samples, and between samples across the groove
_MARGIN = 2.5  # pixels beyond the groove where the raised rim ends

Profile = NDArray[np.float64]


@dataclass(frozen=True)
class Stroke:
    points: Points
    width: float
    strength: float


def along_noise(rng: Rng, count: int, spacing: float, low: float, high: float) -> Profile:
    """Smoothly varying values along a path, one knot every `spacing` samples."""
    knots = max(3, round(count / spacing))
    values = np.interp(np.linspace(0, knots - 1, count), np.arange(knots), rng.random(knots))
    return np.asarray(low + (high - low) * values)


def curve(rng: Rng, centre: Points, angle: float, length: float, curvature: float) -> Points:
    """A bowed path with the unsteadiness of a hand or a skidding key."""
    direction = np.array([np.cos(angle), np.sin(angle)])
    side = np.array([-direction[1], direction[0]])
    half, bow = direction * length / 2, curvature * length * (1 if rng.random() < 0.5 else -1)
    count = max(8, int(length / _STEP))
    bend = centre + direction * uniform(rng, -0.2, 0.2) * length + side * 2 * bow
    path = bezier(centre - half - side * bow, bend, centre + half - side * bow, count)
    wobble = along_noise(rng, count, 40, -1, 1) * 0.006 * length
    wobble += along_noise(rng, count, 9, -0.25, 0.25)
    return np.asarray(path + wobble[:, None] * side)


def sub_curve(rng: Rng, path: Points, shortest: float) -> Points:
    share = uniform(rng, shortest, 1.0)
    keep = max(8, int(share * len(path)))
    start = int(rng.integers(0, max(1, len(path) - keep)))
    return path[start : start + keep]


def _taper(rng: Rng, count: int) -> Profile:
    """Pressure rises and falls towards the ends, seldom equally fast."""
    t = np.linspace(0, 1, count)
    rise, fall = uniform(rng, 0.02, 0.25), uniform(rng, 0.02, 0.25)
    return np.asarray(np.minimum(1, np.minimum((t + 0.005) / rise, (1.005 - t) / fall)) ** 0.6)


def _cross_section(offset: Profile, width: Profile, lit: Profile) -> Profile:
    """The signed change at `offset` pixels from the axis.

    A hairline only darkens (or lights) its core. A wide groove has two walls, one of which
    faces the light, and a rim of pushed-up material; this is what tells it from a printed line.
    """
    half = width / 2
    core = np.clip(half + 0.5 - np.abs(offset), 0, np.minimum(1, width))
    depth = np.clip((width - 1.5) / 3, 0, 1)
    facing = np.clip(offset / np.maximum(half, 0.5), -1, 1) * lit
    walls = core * (1 - 1.3 * depth * np.maximum(facing, 0))
    rim = np.exp(-(((np.abs(offset) - half - 0.9) / 0.6) ** 2))
    return np.asarray(walls - rim * depth * (0.3 + 0.4 * np.maximum(facing, 0)))


def carve(relief: Plane, rng: Rng, stroke: Stroke, force: Profile, light_angle: float) -> None:
    """Adds a groove to `relief` in place; where grooves cross, the stronger change stays."""
    points, count = stroke.points, len(stroke.points)
    tangent = np.gradient(points, axis=0)
    tangent /= np.hypot(tangent[:, 0], tangent[:, 1])[:, None] + 1e-9
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], axis=1)
    taper = _taper(rng, count)
    width = stroke.width * taper * along_noise(rng, count, 12, 0.7, 1.0)
    lit = normal @ np.array([np.cos(light_angle), np.sin(light_angle)])
    chatter = along_noise(rng, count, 2.5, 0.7, 1.0)  # a tool skips and digs as it is dragged
    strength = stroke.strength * force * chatter * np.minimum(1, taper + 0.3)

    across = np.arange(-stroke.width / 2 - _MARGIN, stroke.width / 2 + _MARGIN, _STEP)
    pixel = np.round(points[:, None] + across[None, :, None] * normal[:, None]).astype(np.int64)
    offset = np.einsum("nkc,nc->nk", pixel - points[:, None], normal)
    width = width + along_noise(rng, count, 2.0, -0.2, 0.2) * np.minimum(1, width / 3)
    change = strength[:, None] * _cross_section(offset, width[:, None], lit[:, None])
    height, wide = relief.shape
    inside = (pixel >= 0).all(axis=2) & (pixel[..., 0] < wide) & (pixel[..., 1] < height)
    inside &= np.abs(change) > 0.02
    flat, values = (pixel[..., 1] * wide + pixel[..., 0])[inside], change[inside]
    surface = relief.reshape(-1)
    stronger = np.abs(values) > np.abs(surface[flat])
    flat, values = flat[stronger], values[stronger].astype(np.float32)
    # Assignment keeps the last of duplicate pixels, so sorting by size keeps the strongest.
    order = np.argsort(np.abs(values), kind="stable")
    surface[flat[order]] = values[order]
