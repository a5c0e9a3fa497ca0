"""Look-alikes in front of the surface: hairs, dust, drops, mirrored light, cables, edges."""

import numpy as np

from training.synthetic.arrays import (
    Colour,
    Image,
    Plane,
    Points,
    Rng,
    Size,
    add_light,
    blend,
    blurred,
    chance,
    ellipse,
    line_alpha,
    shape_alpha,
    size_of,
    smooth_noise,
    uniform,
)
from training.synthetic.markings import through_line

_BLACK: Colour = (0.0, 0.0, 0.0)


def _somewhere(rng: Rng, size: Size) -> Points:
    return np.array([uniform(rng, 0.05, 0.95) * size[1], uniform(rng, 0.05, 0.95) * size[0]])


def hair(image: Image, rng: Rng) -> None:
    """Smooth, thin, strongly curved and evenly dark; it has no lit edge and no breaks."""
    size, reach = size_of(image), float(min(image.shape[:2]))
    width, shade = uniform(rng, 0.9, 2.2), uniform(rng, 0.03, 0.2)
    for _ in range(int(rng.integers(1, 4))):
        start = _somewhere(rng, size)
        heading, length = uniform(rng, 0, 2 * np.pi), uniform(rng, 0.12, 0.45) * reach
        turn = np.cumsum(rng.normal(0, 0.9, 5))
        angle = heading + np.interp(np.linspace(0, 4, 80), np.arange(5), turn)
        steps = np.stack([np.cos(angle), np.sin(angle)], axis=1) * length / 80
        path = start + np.cumsum(steps, axis=0)
        shadow = blurred(line_alpha(size, [path + (1.5, 2.5)], 2.5), 1.5)
        blend(image, shadow * np.float32(0.25), _BLACK)
        blend(image, line_alpha(size, [path], width) * np.float32(0.9), (shade * 1.3, shade, shade))


def dust(image: Image, rng: Rng) -> None:
    size, pale = size_of(image), chance(rng, 0.6)
    specks = []
    for _ in range(int(rng.integers(10, 60))):
        x, y = _somewhere(rng, size)
        radius = uniform(rng, 0.5, 2.2)
        specks.append(ellipse((x, y), (radius, radius * uniform(rng, 0.5, 1.0))))
    shade = uniform(rng, 0.75, 0.95) if pale else uniform(rng, 0.05, 0.25)
    blend(image, shape_alpha(size, specks) * np.float32(0.8), (shade, shade, shade * 0.95))


def drops(image: Image, rng: Rng) -> None:
    """Water beads: a dark upper rim, a bright lower one, and a glint."""
    size = size_of(image)
    bodies, lows, glints = [], [], []
    for _ in range(int(rng.integers(4, 24))):
        x, y = _somewhere(rng, size)
        radius = uniform(rng, 3, 14)
        bodies.append(ellipse((x, y), (radius, radius * uniform(rng, 0.85, 1.1))))
        lows.append(ellipse((x, y + radius * 0.35), (radius * 0.7, radius * 0.45)))
        glints.append(ellipse((x - radius * 0.3, y - radius * 0.45), (radius * 0.2, radius * 0.15)))
    blend(image, shape_alpha(size, bodies) * np.float32(0.3), _BLACK)
    blend(image, blurred(shape_alpha(size, lows), 1.8) * np.float32(0.4), (0.95, 0.97, 1.0))
    blend(image, shape_alpha(size, glints) * np.float32(0.9), (1.0, 1.0, 1.0))


def _window(rng: Rng, size: Size) -> list[Points]:
    """The panes of a mirrored window, slightly sheared by the view."""
    corner, pane = _somewhere(rng, size), uniform(rng, 0.08, 0.35) * min(size)
    shear = np.array([[1.0, uniform(rng, -0.2, 0.2)], [uniform(rng, -0.3, 0.3), 1.2]])
    unit = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], dtype=np.float64)
    places = [(column * 1.1, row * 1.1) for row in range(2) for column in range(2)]
    return [corner + ((unit + place) * pane) @ shear for place in places]


def reflection(image: Image, rng: Rng) -> None:
    """Mirrored light: wide, soft, and leaving the texture beneath readable."""
    size = size_of(image)
    if chance(rng, 0.4):
        shape, softness = shape_alpha(size, _window(rng, size)), uniform(rng, 2, 6)
    else:
        width = uniform(rng, 0.04, 0.15) * min(size)
        path = through_line(rng, size, uniform(rng, 0, np.pi), uniform(rng, -0.25, 0.25))
        shape, softness = line_alpha(size, [path], width), width * uniform(rng, 0.15, 0.4)
    light = blurred(shape, softness) * np.float32(uniform(rng, 0.08, 0.35))
    add_light(image, light, (uniform(rng, 0.9, 1.0), 0.97, uniform(rng, 0.9, 1.0)))


def shadow(image: Image, rng: Rng) -> None:
    """The shade of something out of the picture, with a half-soft border."""
    size = size_of(image)
    path = through_line(rng, size, uniform(rng, 0, np.pi), uniform(rng, -0.2, 0.2))
    reach = float(np.hypot(*size))
    across = path[-1] - path[0]
    away = np.array([-across[1], across[0]]) / np.hypot(*across) * reach
    shade = shape_alpha(size, [np.vstack([path, path[-1] + away, path[0] + away])])
    blend(image, blurred(shade, uniform(rng, 2, 14)) * np.float32(uniform(rng, 0.1, 0.35)), _BLACK)


def cable(image: Image, rng: Rng) -> Plane:
    """A round cord across the picture: thick, shaded as a tube, casting a soft shadow."""
    size, width = size_of(image), uniform(rng, 8, 18)
    path = through_line(rng, size, uniform(rng, 0, np.pi), uniform(rng, -0.3, 0.3))
    shade = 0.06 if chance(rng, 0.6) else 0.85
    cast = blurred(line_alpha(size, [path + (width * 0.5, width * 0.7)], width), width * 0.3)
    blend(image, cast * np.float32(0.4), _BLACK)
    body = line_alpha(size, [path], width)
    blend(image, body, (shade, shade, shade))
    gleam = blurred(line_alpha(size, [path - width * 0.18], width * 0.25), width * 0.12)
    blend(image, gleam * np.float32(0.35), (1.0, 1.0, 1.0))
    return body


def _border(rng: Rng, size: Size) -> Points:
    """A strip along one side, up to a fifth of the picture wide."""
    height, width = size
    near, far = (uniform(rng, 0.04, 0.18) for _ in range(2))
    strip = np.array([(-0.1, -0.1), (1.1, -0.1), (1.1, far), (-0.1, near)])
    side = int(rng.integers(4))
    if side % 2:
        strip = strip[:, ::-1]
    if side >= 2:
        strip = 1 - strip
    return strip * (width, height)


def edge(image: Image, rng: Rng) -> Plane:
    """The object ends: a blurred background beyond, its contact shadow, and a lit rim."""
    size = size_of(image)
    strip = _border(rng, size)
    outside = blurred(shape_alpha(size, [strip]), 0.6)
    blend(image, blurred(outside, 4.0) * np.float32(0.3), _BLACK)
    if chance(rng, 0.5):
        rim = blurred(line_alpha(size, [strip[2:]], 2.5), 1.0)
        blend(image, rim * np.float32(0.5), (0.95, 0.95, 0.95))
    grey = uniform(rng, 0.1, 0.75)
    tint = [grey * uniform(rng, 0.75, 1.15) for _ in range(3)]
    blend(image, outside, (tint[0], tint[1], tint[2]))
    add_light(image, outside * smooth_noise(rng, size, (6, 6)) * np.float32(0.08))
    return outside
