"""Scratches: what one looks like (`ScratchSpec`) and how to draw it onto any image."""

from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np

from training.synthetic.arrays import (
    Image,
    Mask,
    Photo,
    Plane,
    Points,
    Rng,
    Size,
    chance,
    pick,
    uniform,
)
from training.synthetic.strokes import Stroke, along_noise, carve, curve, sub_curve

Shape = Literal["stroke", "bundle", "swirl", "scuff"]
Tone = Literal["auto", "dark", "bright"]

REFERENCE_SIDE = 640  # default widths are given for photos with this longer side
_MASK_THRESHOLD = 0.15  # share of the peak change from which a pixel counts as scratched


@dataclass(frozen=True)
class ScratchSpec:
    """One scratch before the camera blurs it.

    width: pixels across the widest groove; below 1 the groove only dims its pixel.
    contrast: peak brightness change as a share of the full range, 0 to 1.
    length: end to end, as a share of the shorter image side.
    curvature: sideways bow as a share of the length.
    breaks: share of the length where the tool lost contact.
    glint: share of the length where the groove flips from dark to bright or back.
    tone: brightness against the surface; `auto` takes the side that has room for the contrast.
    """

    width: float
    contrast: float
    length: float
    shape: Shape = "stroke"
    curvature: float = 0.08
    breaks: float = 0.0
    glint: float = 0.0
    tone: Tone = "auto"


def sample_spec(rng: Rng, size: Size) -> ScratchSpec:
    """A scratch a person sees at once, or in one case of ten a hairline."""
    scale = max(size) / REFERENCE_SIDE
    shape: Shape = get_args(Shape)[int(rng.choice(4, p=[0.62, 0.2, 0.08, 0.1]))]
    hairline = chance(rng, 0.1)
    width = uniform(rng, 0.7, 1.2) if hairline else 1.2 + 5.8 * float(rng.beta(1.4, 2.4))
    length = uniform(rng, 0.15, 0.9) if shape != "swirl" else uniform(rng, 0.4, 0.9)
    return ScratchSpec(
        width=width * scale,
        contrast=uniform(rng, 0.22, 0.4) if hairline else uniform(rng, 0.28, 0.7),
        length=length,
        shape=shape,
        curvature=abs(float(rng.normal(0, 0.09))),
        breaks=uniform(rng, 0.1, 0.5) if chance(rng, 0.4) else 0.0,
        glint=uniform(rng, 0.1, 0.4) if chance(rng, 0.3) else 0.0,
    )


def _bundle(rng: Rng, spec: ScratchSpec, path: Points, reach: float) -> list[Stroke]:
    """Parallel grooves of one blow: the same curve, shifted, each with its own start and end."""
    across = path[-1] - path[0]
    side = np.array([-across[1], across[0]]) / (np.hypot(*across) + 1e-6)
    count = int(rng.integers(3, 8))
    spread = max(spec.width * 2.5, 0.02 * reach) * count / 2
    strokes = [Stroke(path, spec.width, 1.0)]
    for _ in range(count - 1):
        shifted = sub_curve(rng, path, 0.4) + side * uniform(rng, -spread, spread)
        width = max(0.7, spec.width * uniform(rng, 0.3, 0.8))
        strokes.append(Stroke(shifted, width, uniform(rng, 0.45, 1.0)))
    return strokes


def _swirl(rng: Rng, spec: ScratchSpec, middle: Points, reach: float) -> list[Stroke]:
    """Arcs round one centre, as a gritty cloth leaves them."""
    strokes, heading = [], uniform(rng, 0, 2 * np.pi)
    # The centre of turn lies outside the marks, which therefore stay about `middle`.
    centre = middle - 0.6 * reach * np.array([np.cos(heading), np.sin(heading)])
    for index in range(int(rng.integers(12, 26))):
        radius = reach * (0.6 if index == 0 else uniform(rng, 0.35, 0.75))
        sweep = uniform(rng, 0.9, 1.4) if index == 0 else uniform(rng, 0.25, 1.2)
        start = heading - sweep / 2 + (0.0 if index == 0 else float(rng.normal(0, 0.5)))
        angle = np.linspace(start, start + sweep, max(8, int(radius * sweep / 0.7)))
        ring = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        pivot = centre + rng.normal(0, 0.025 * reach, 2)
        width = spec.width if index == 0 else max(0.7, spec.width * uniform(rng, 0.3, 0.6))
        strength = 1.0 if index == 0 else uniform(rng, 0.35, 0.9)
        strokes.append(Stroke(pivot + radius * ring, width, strength))
    return strokes


def _scuff(rng: Rng, spec: ScratchSpec, path: Points, reach: float) -> list[Stroke]:
    """A patch of short rubs that roughly share one direction."""
    heading = float(np.arctan2(*(path[-1] - path[0])[::-1]))
    strokes = []
    for index in range(int(rng.integers(10, 24))):
        middle = path[int(rng.integers(len(path)))] + rng.normal(0, 0.06 * reach, 2)
        length = reach * uniform(rng, 0.15, 0.5)
        rub = curve(rng, middle, heading + float(rng.normal(0, 0.12)), length, 0.05)
        width = spec.width if index == 0 else max(0.7, spec.width * uniform(rng, 0.3, 0.8))
        strokes.append(Stroke(rub, width, 1.0 if index == 0 else uniform(rng, 0.3, 0.9)))
    return strokes


def _strokes(rng: Rng, spec: ScratchSpec, size: Size, centre: Points) -> list[Stroke]:
    reach = spec.length * min(size)
    path = curve(rng, centre, uniform(rng, 0, np.pi), reach, spec.curvature)
    if spec.shape == "bundle":
        return _bundle(rng, spec, path, reach)
    if spec.shape == "swirl":
        return _swirl(rng, spec, centre, reach)
    if spec.shape == "scuff":
        return _scuff(rng, spec, path, reach)
    return [Stroke(path, spec.width, 1.0)]


def scratch_relief(
    size: Size, rng: Rng, spec: ScratchSpec, centre: tuple[float, float] | None = None
) -> tuple[Plane, Mask]:
    """The signed change a scratch makes, 1 at its core and below 0 on its lit wall, and its mask.

    `centre` is x, y as shares of the image; by default anywhere in the middle half.
    """
    share = centre or (uniform(rng, 0.25, 0.75), uniform(rng, 0.25, 0.75))
    middle = np.array([share[0] * size[1], share[1] * size[0]])
    light_angle = uniform(rng, 0, 2 * np.pi)
    relief = np.zeros(size, dtype=np.float32)
    for stroke in _strokes(rng, spec, size, middle):
        force = along_noise(rng, len(stroke.points), 18, 0.7, 1.0)
        if spec.breaks > 0:
            # Gaps of several lengths at once; equal ones would read as a dashed line.
            contact = along_noise(rng, len(stroke.points), uniform(rng, 40, 90), 0.0, 1.0)
            contact += along_noise(rng, len(stroke.points), 11, 0.0, 0.45)
            force *= np.clip((contact - np.quantile(contact, spec.breaks)) * 5, 0, 1)
        if spec.glint > 0:
            facing = along_noise(rng, len(stroke.points), 30, 0.0, 1.0)
            force *= np.clip((facing - np.quantile(facing, spec.glint)) * 8, -0.8, 1.0)
        carve(relief, rng, stroke, force, light_angle)
    mask = (np.abs(relief) > _MASK_THRESHOLD).astype(np.uint8)
    # What is faint and far from the mask would be a scratch that the mask denies.
    relief[cv2.dilate(mask, np.ones((7, 7), np.uint8)) == 0] = 0
    return relief, mask


def _sign(rng: Rng, surface: Image, spec: ScratchSpec) -> float:
    if spec.tone != "auto":
        return -1.0 if spec.tone == "dark" else 1.0
    level = float(np.clip(surface.mean(), 0, 1)) if surface.size else 0.5
    if min(level, 1 - level) < spec.contrast + 0.05:
        return 1.0 if level < 0.5 else -1.0
    return 1.0 if pick(rng, ("bright", "dark")) == "bright" else -1.0


def scratch_scene(
    image: Image, rng: Rng, spec: ScratchSpec, centre: tuple[float, float] | None = None
) -> Mask:
    """Draws onto a float image in place; returns the mask."""
    size = (image.shape[0], image.shape[1])
    relief, mask = scratch_relief(size, rng, spec, centre)
    touched = np.flatnonzero(relief != 0)
    pixels = image.reshape(-1, 3)
    under = np.clip(pixels[touched], 0, 1)  # glare above 1 would swallow the scratch
    change = relief.reshape(-1)[touched, None]
    change *= np.float32(spec.contrast * _sign(rng, under, spec))
    pixels[touched] = np.clip(under + change, 0, 1)
    return mask


def draw_scratch(
    image: Photo, rng: Rng, spec: ScratchSpec, centre: tuple[float, float] | None = None
) -> tuple[Photo, Mask]:
    """Draws one scratch onto any 8-bit RGB photo; returns a new photo and the scratch's mask."""
    scene = image.astype(np.float32) * np.float32(1 / 255)
    mask = scratch_scene(scene, rng, spec, centre)
    return np.round(scene * 255).astype(np.uint8), mask
