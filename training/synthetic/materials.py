"""Unscratched surfaces: each material draws its own texture and colour, evenly lit."""

from collections.abc import Callable

import cv2
import numpy as np

from training.synthetic.arrays import (
    Colour,
    Image,
    Plane,
    Rng,
    Size,
    blurred,
    chance,
    enlarge,
    smooth_noise,
    uniform,
    white_noise,
)
from training.synthetic.lighting import light

Material = Callable[[Rng, Size], Image]


def _hsv(hue: float, saturation: float, value: float) -> Colour:
    pixel = np.array([[[hue % 360, saturation, value]]], dtype=np.float32)
    red, green, blue = cv2.cvtColor(pixel, cv2.COLOR_HSV2RGB)[0, 0]
    return float(red), float(green), float(blue)


def _grey(rng: Rng, low: float, high: float, tint: float = 0.05) -> Colour:
    """A grey with the faint warm or cold cast real metal has."""
    return _hsv(30 if chance(rng, 0.4) else 215, uniform(rng, 0.0, tint), uniform(rng, low, high))


def _streaks(rng: Rng, size: Size, stretch: int) -> Plane:
    """Noise drawn out along the x axis, as brushing or rolling leaves it."""
    narrow = white_noise(rng, (size[0], max(2, size[1] // stretch)))
    return enlarge(narrow, size, cv2.INTER_LINEAR)


def _turned(plane: Plane, size: Size, angle: float) -> Plane:
    """The centre of a square plane, turned by `angle` degrees and cropped to `size`."""
    side = plane.shape[0]
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), angle, 1.0)
    turn[:, 2] += (size[1] - side) / 2, (size[0] - side) / 2
    out = cv2.warpAffine(plane, turn, (size[1], size[0]), borderMode=cv2.BORDER_REFLECT)
    return np.asarray(out, dtype=np.float32)


def brushed_metal(rng: Rng, size: Size) -> Image:
    side = int(np.hypot(*size)) + 2
    square = (side, side)
    lines = _streaks(rng, square, int(rng.integers(20, 60)))
    lines += 0.6 * _streaks(rng, square, int(rng.integers(90, 300)))
    angle = uniform(rng, -4, 4) + (90 if chance(rng, 0.4) else 0)
    if chance(rng, 0.25):
        angle = uniform(rng, 0, 180)
    texture = 1 + _turned(lines, size, angle) * np.float32(uniform(rng, 0.02, 0.06))
    warm = chance(rng, 0.15)
    colour = _hsv(uniform(rng, 25, 45), 0.3, 0.7) if warm else _grey(rng, 0.45, 0.75)
    return light(rng, texture, colour, gloss=0.6)


def rolled_steel(rng: Rng, size: Size) -> Image:
    mottle = smooth_noise(rng, size, (14, 14)) + 0.8 * smooth_noise(rng, size, (45, 45))
    rolling = _streaks(rng, size, 200) * np.float32(uniform(rng, 0.0, 0.3))
    pits = blurred(white_noise(rng, size), 1.0)
    texture = 1 + np.float32(uniform(rng, 0.02, 0.05)) * (mottle + rolling + 1.5 * pits)
    return light(rng, texture, _grey(rng, 0.3, 0.65), gloss=0.15)


def car_paint(rng: Rng, size: Size) -> Image:
    flake = blurred(white_noise(rng, size), 0.7) * np.float32(uniform(rng, 0.0, 0.06))
    peel = smooth_noise(rng, size, (size[0] // 12, size[1] // 12)) * np.float32(0.008)
    if chance(rng, 0.5):
        hue = float(rng.choice([0, 5, 25, 45, 130, 205, 220, 235]))
        colour = _hsv(hue, uniform(rng, 0.55, 0.9), uniform(rng, 0.25, 0.7))
    else:
        colour = _grey(rng, 0.08, 0.85)
    return light(rng, 1 + flake + peel, colour, gloss=1.0)


def plastic(rng: Rng, size: Size) -> Image:
    bumps = blurred(white_noise(rng, size), uniform(rng, 0.8, 2.2))
    relief = bumps[1:, 1:] - bumps[:-1, :-1]
    relief /= np.float32(relief.std() + 1e-6)
    depth = 0.0 if chance(rng, 0.25) else uniform(rng, 0.02, 0.09)
    texture = cv2.copyMakeBorder(relief, 0, 1, 0, 1, cv2.BORDER_REPLICATE) * np.float32(depth)
    if chance(rng, 0.6):
        colour = _grey(rng, 0.1, 0.85, tint=0.1)
    else:
        colour = _hsv(uniform(rng, 0, 360), uniform(rng, 0.3, 0.8), uniform(rng, 0.3, 0.8))
    return light(rng, np.asarray(1 + texture, dtype=np.float32), colour, gloss=0.4)


def glass(rng: Rng, size: Size) -> Image:
    """A switched-off screen or a dark pane: near black, lit by what it mirrors."""
    colour = _hsv(uniform(rng, 190, 260), uniform(rng, 0.1, 0.5), uniform(rng, 0.05, 0.22))
    half = (size[0] // 2, size[1] // 2)
    smear = np.maximum(smooth_noise(rng, half, (9, 5)), 0) * smooth_noise(rng, half, (30, 18))
    texture = 1 + enlarge(np.abs(smear), size) * np.float32(uniform(rng, 0.0, 0.12))
    return light(rng, texture, colour, gloss=1.3)


def wood(rng: Rng, size: Size) -> Image:
    side = int(np.hypot(*size)) + 2
    square = (side, side)
    coarse = (side // 3, side // 3)  # rings are wide, so a third of the resolution will do
    warp = smooth_noise(rng, coarse, (5, 2)) * np.float32(uniform(rng, 0.3, 0.9))
    down = np.linspace(0, uniform(rng, 5, 16), coarse[0], dtype=np.float32)[:, None]
    rings = enlarge(
        np.sin(2 * np.pi * (down + warp)) * np.float32(uniform(rng, 0.02, 0.06)), square
    )
    pores = _streaks(rng, square, int(rng.integers(25, 70))) * np.float32(uniform(rng, 0.01, 0.04))
    base = 90 if chance(rng, 0.5) else 0
    texture = 1 + _turned(rings + pores, size, base + uniform(rng, -8, 8))
    colour = _hsv(uniform(rng, 18, 34), uniform(rng, 0.35, 0.65), uniform(rng, 0.3, 0.75))
    return light(rng, texture, colour, gloss=0.3)


def enamel(rng: Rng, size: Size) -> Image:
    """White or cream goods: stove enamel, appliance doors, lacquered furniture."""
    peel = smooth_noise(rng, size, (size[0] // 8, size[1] // 8)) * np.float32(0.006)
    colour = _hsv(uniform(rng, 30, 60), uniform(rng, 0.0, 0.12), uniform(rng, 0.68, 0.88))
    return light(rng, 1 + peel, colour, gloss=0.5)


MATERIALS: dict[str, Material] = {
    "brushed_metal": brushed_metal,
    "rolled_steel": rolled_steel,
    "car_paint": car_paint,
    "plastic": plastic,
    "glass": glass,
    "wood": wood,
    "enamel": enamel,
}
