"""Look-alikes that belong to the surface: seams, print, rulings, tiles, holes."""

import string

import cv2
import numpy as np

from training.synthetic.arrays import (
    Colour,
    Image,
    Points,
    Rng,
    Size,
    bezier,
    blend,
    blurred,
    chance,
    ellipse,
    line_alpha,
    shape_alpha,
    size_of,
    uniform,
)

_BLACK: Colour = (0.02, 0.02, 0.02)


def _ink(image: Image, rng: Rng) -> Colour:
    """Print contrasts with what it is printed on."""
    dark_surface = float(image[::16, ::16].mean()) < 0.4
    if chance(rng, 0.25):
        shades = [uniform(rng, 0.05, 0.8) for _ in range(3)]
        return shades[0], shades[1], shades[2]
    grey = uniform(rng, 0.7, 0.95) if dark_surface else uniform(rng, 0.03, 0.2)
    return grey, grey, grey


def through_line(rng: Rng, size: Size, angle: float, bow: float = 0.0) -> Points:
    """A line or gentle arc that enters and leaves the picture."""
    centre = np.array([uniform(rng, 0.15, 0.85) * size[1], uniform(rng, 0.15, 0.85) * size[0]])
    reach = float(np.hypot(*size))
    direction = np.array([np.cos(angle), np.sin(angle)])
    side = np.array([-direction[1], direction[0]])
    bend = centre + side * bow * reach
    return bezier(centre - direction * reach, bend, centre + direction * reach, 64)


def _upright_angle(rng: Rng, spread: float) -> float:
    return (np.pi / 2 if chance(rng, 0.5) else 0.0) + float(rng.normal(0, spread))


def seam(image: Image, rng: Rng) -> None:
    """A panel gap: constant width from border to border, soft shadow, one rounded lit lip."""
    size = size_of(image)
    bow = uniform(rng, -0.15, 0.15) if chance(rng, 0.5) else 0.0
    path = through_line(rng, size, _upright_angle(rng, 0.25), bow)
    width = uniform(rng, 4, 10)
    side = np.array([0.7, 0.7]) * width
    halo = blurred(line_alpha(size, [path], width * 2), width * 0.8)
    blend(image, halo * np.float32(0.45), _BLACK)
    lip = blurred(line_alpha(size, [path + side], width * 0.5), 1.2)
    blend(image, lip * np.float32(uniform(rng, 0.1, 0.4)), (0.95, 0.95, 0.95))
    blend(image, line_alpha(size, [path], width) * np.float32(0.92), _BLACK)


def _label(rng: Rng, longest: int) -> str:
    letters = string.ascii_uppercase + string.digits + "  -/."
    return "".join(rng.choice(list(letters), int(rng.integers(4, longest))))


def text(image: Image, rng: Rng) -> None:
    """A few printed lines, in one ink and one size, sometimes on a sticker."""
    size = size_of(image)
    canvas = np.zeros(size, dtype=np.uint8)
    scale, rows = uniform(rng, 0.5, 1.3), int(rng.integers(1, 5))
    left, top = int(uniform(rng, 0.02, 0.45) * size[1]), int(uniform(rng, 0.1, 0.75) * size[0])
    pitch, ink = int(34 * scale), _ink(image, rng)
    if chance(rng, 0.3):
        corners = [(-12, -pitch), (280 * scale, -pitch), (280 * scale, rows * pitch)]
        sheet = np.array([*corners, (-12, rows * pitch)]) + (left, top)
        blend(image, shape_alpha(size, [sheet]), (0.9, 0.9, 0.87))
        ink = (0.08, 0.08, 0.1)
    for row in range(rows):
        origin = (left, top + row * pitch)
        weight = 1 + int(scale > 0.9)
        font = cv2.FONT_HERSHEY_SIMPLEX
        cv2.putText(canvas, _label(rng, 16), origin, font, scale, 255, weight, cv2.LINE_AA)
    blend(image, canvas.astype(np.float32) * np.float32(0.95 / 255), ink)


def ruling(image: Image, rng: Rng) -> None:
    """Printed lines: perfectly straight, evenly wide, one flat colour."""
    size, angle = size_of(image), _upright_angle(rng, 0.03)
    first = through_line(rng, size, angle)
    step = np.array([-np.sin(angle), np.cos(angle)]) * uniform(rng, 12, 60)
    count = int(rng.integers(1, 7))
    if chance(rng, 0.4):  # a line that ends inside the picture, square and untapered
        middle = np.array([uniform(rng, 0.3, 0.7) * size[1], uniform(rng, 0.3, 0.7) * size[0]])
        half = np.array([np.cos(angle), np.sin(angle)]) * uniform(rng, 0.1, 0.3) * min(size)
        first = np.stack([middle - half, middle + half])
    alpha = line_alpha(size, [first + step * k for k in range(count)], uniform(rng, 1.2, 5))
    blend(image, alpha * np.float32(0.95), _ink(image, rng))


def logo(image: Image, rng: Rng) -> None:
    """A badge of filled shapes and rings."""
    size = size_of(image)
    centre = (uniform(rng, 0.15, 0.85) * size[1], uniform(rng, 0.15, 0.85) * size[0])
    radius, ink = uniform(rng, 0.05, 0.14) * min(size), _ink(image, rng)
    ring = ellipse(centre, (radius, radius * uniform(rng, 0.5, 1.0)))
    outline = line_alpha(size, [np.vstack([ring, ring[:2]])], uniform(rng, 2, 6))
    inside = ellipse(centre, (radius * 0.45, radius * 0.3))
    if chance(rng, 0.5):
        inside = np.array([(-0.5, 0.35), (0.5, 0.35), (0.0, -0.5)]) * radius + centre
    blend(image, np.maximum(outline, shape_alpha(size, [inside])), ink)


def tiles(image: Image, rng: Rng) -> None:
    """A regular grid of joints, from tiles, mesh or embossing."""
    size, angle = size_of(image), float(rng.normal(0, 0.06))
    pitch = uniform(rng, 0.12, 0.35) * min(size)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    reach = float(np.hypot(*size))
    paths = []
    for offset in np.arange(-reach, reach, pitch):
        paths.append(np.array([(-reach, offset), (reach, offset)]) @ turn)
        paths.append(np.array([(offset, -reach), (offset, reach)]) @ turn)
    alpha = line_alpha(size, paths, uniform(rng, 2, 7))
    grey = uniform(rng, 0.1, 0.75)
    blend(image, alpha * np.float32(uniform(rng, 0.5, 0.9)), (grey, grey, grey * 0.96))


def _hole(image: Image, rng: Rng, centre: tuple[float, float], radius: float) -> None:
    size = size_of(image)
    disc = shape_alpha(size, [ellipse(centre, (radius, radius))])
    blend(image, blurred(disc, radius * 0.25) * np.float32(0.4), _BLACK)
    if chance(rng, 0.5):  # a countersunk screw with a slot or cross
        grey = uniform(rng, 0.4, 0.75)
        blend(image, disc, (grey, grey, grey))
        turn = uniform(rng, 0, np.pi)
        arms = [np.array([np.cos(a), np.sin(a)]) * radius * 0.65 for a in (turn, turn + np.pi / 2)]
        slots = [np.stack([centre - arm, centre + arm]) for arm in arms]
        blend(image, line_alpha(size, slots[: int(rng.integers(1, 3))], radius * 0.3), _BLACK)
    else:
        blend(image, disc, _BLACK)


def holes(image: Image, rng: Rng) -> None:
    height, width = size_of(image)
    radius = uniform(rng, 0.012, 0.035) * min(height, width)
    for _ in range(int(rng.integers(1, 4))):
        centre = (uniform(rng, 0.08, 0.92) * width, uniform(rng, 0.08, 0.92) * height)
        _hole(image, rng, centre, radius)
