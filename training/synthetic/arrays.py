"""Array types and the few drawing primitives the whole generator shares.

Scenes are float32 RGB in [0, 1] until the camera turns them into 8 bits.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Size = tuple[int, int]  # height, width
Colour = tuple[float, float, float]
Image = NDArray[np.float32]  # HxWx3, RGB, [0, 1]
Plane = NDArray[np.float32]  # HxW
Photo = NDArray[np.uint8]  # HxWx3, RGB
Mask = NDArray[np.uint8]  # HxW, 0 or 1
Points = NDArray[np.float64]  # Nx2, x then y
Rng = np.random.Generator

_SUBPIXEL_BITS = 4


def uniform(rng: Rng, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


def chance(rng: Rng, probability: float) -> bool:
    return bool(rng.random() < probability)


def pick(rng: Rng, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]


def enlarge(plane: Plane, size: Size, interpolation: int = cv2.INTER_CUBIC) -> Plane:
    resized = cv2.resize(plane, (size[1], size[0]), interpolation=interpolation)
    return np.asarray(resized, dtype=np.float32)


def blurred(plane: Plane, sigma: float) -> Plane:
    """Wide blurs run on a shrunken plane: what they leave has no detail to lose."""
    shrink = max(1, int(sigma // 2))
    height, width = plane.shape
    if shrink == 1:
        return np.asarray(cv2.GaussianBlur(plane, (0, 0), sigma), dtype=np.float32)
    small = cv2.resize(plane, (width // shrink, height // shrink), interpolation=cv2.INTER_AREA)
    smooth = np.asarray(cv2.GaussianBlur(small, (0, 0), sigma / shrink), dtype=np.float32)
    return enlarge(smooth, (height, width), cv2.INTER_LINEAR)


def white_noise(rng: Rng, size: Size) -> Plane:
    """Unit-variance uniform noise; raw bytes are ten times cheaper than normal deviates."""
    raw = np.frombuffer(rng.bytes(size[0] * size[1]), dtype=np.uint8).reshape(size)
    return (raw.astype(np.float32) - np.float32(127.5)) * np.float32(1 / 73.9)


def smooth_noise(rng: Rng, size: Size, cells: tuple[int, int]) -> Plane:
    """Band-limited noise, roughly in [-2, 2], with `cells` bumps down and across."""
    coarse = rng.standard_normal((cells[0] + 2, cells[1] + 2), dtype=np.float32)
    return enlarge(coarse, size)


def ramp(size: Size, angle: float) -> Plane:
    """A plane rising from -0.5 to 0.5 across the image in the direction `angle`."""
    across = np.linspace(-0.5, 0.5, size[1], dtype=np.float32)[None, :]
    down = np.linspace(-0.5, 0.5, size[0], dtype=np.float32)[:, None]
    scale = abs(np.cos(angle)) + abs(np.sin(angle))
    return np.asarray((across * np.cos(angle) + down * np.sin(angle)) / scale, dtype=np.float32)


def colourise(plane: Plane, colour: Colour) -> Image:
    """A 3-channel image of one colour; merging is cheaper than broadcasting a last axis of 3."""
    return np.asarray(cv2.merge([plane * np.float32(c) for c in colour]), dtype=np.float32)


def add_light(image: Image, light: Plane, colour: Colour = (1.0, 1.0, 1.0)) -> None:
    """Adds light in place."""
    cv2.add(image, colourise(light, colour), dst=image)


def _touched(alpha: Plane) -> tuple[slice, slice]:
    """The smallest box outside which `alpha` is zero; empty slices if it is zero everywhere."""
    rows = np.flatnonzero(alpha.max(axis=1) > 1 / 512)
    columns = np.flatnonzero(alpha.max(axis=0) > 1 / 512)
    if rows.size == 0:
        return slice(0, 0), slice(0, 0)
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def blend(image: Image, alpha: Plane, colour: Colour) -> None:
    """Paints `colour` through `alpha` in place, working only inside the box it touches."""
    box = _touched(alpha)
    cover, under = alpha[box], image[box]
    if cover.size == 0:
        return
    keep = 1 - cover
    under *= cv2.merge([keep, keep, keep])
    under += colourise(cover, colour)


def _fixed_point(points: Points, scale: float) -> NDArray[np.int32]:
    return np.asarray(np.round(points * scale * 2**_SUBPIXEL_BITS), dtype=np.int32)


def line_alpha(size: Size, paths: Sequence[Points], width: float) -> Plane:
    """Anti-aliased lines of one constant, possibly fractional, width."""
    scale = 2 if width >= 2 else 4 if width < 1 else 3
    canvas = np.zeros((size[0] * scale, size[1] * scale), dtype=np.uint8)
    lines = [_fixed_point(path, scale) for path in paths]
    thickness = max(1, round(width * scale))
    cv2.polylines(canvas, lines, False, 255, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)
    small = cv2.resize(canvas, (size[1], size[0]), interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.float32) * np.float32(1 / 255)


def shape_alpha(size: Size, polygons: Sequence[Points]) -> Plane:
    """Anti-aliased filled polygons."""
    canvas = np.zeros(size, dtype=np.uint8)
    for polygon in polygons:
        cv2.fillPoly(canvas, [_fixed_point(polygon, 1)], 255, cv2.LINE_AA, _SUBPIXEL_BITS)
    return canvas.astype(np.float32) * np.float32(1 / 255)


def bezier(start: Points, bend: Points, end: Points, count: int) -> Points:
    """A quadratic Bezier curve sampled at `count` points."""
    t = np.linspace(0.0, 1.0, count)[:, None]
    return np.asarray((1 - t) ** 2 * start + 2 * t * (1 - t) * bend + t**2 * end)


def size_of(image: Image) -> Size:
    return image.shape[0], image.shape[1]


def ellipse(centre: tuple[float, float], radii: tuple[float, float], angle: float = 0.0) -> Points:
    t = np.linspace(0.0, 2 * np.pi, 48, endpoint=False)
    x, y = radii[0] * np.cos(t), radii[1] * np.sin(t)
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([centre[0] + x * cos - y * sin, centre[1] + x * sin + y * cos], axis=1)
