"""What a phone camera does to a scene; knows nothing of the label, so cannot betray it."""

import cv2
import numpy as np

from training.synthetic.arrays import (
    Colour,
    Image,
    Photo,
    Rng,
    Size,
    chance,
    enlarge,
    uniform,
    white_noise,
)

JPEG_QUALITY = (60, 96)


def _vignette(rng: Rng, gains: Colour, size: Size) -> Image:
    """Exposure and white balance, falling off towards the corners."""
    grid = np.linspace(-1, 1, 32, dtype=np.float32) ** 2
    darkening = 1 - np.float32(uniform(rng, 0.0, 0.22)) * (grid[None, :] + grid[:, None]) / 2
    coarse = (darkening[..., None] * np.array(gains)).astype(np.float32)
    return enlarge(coarse, size, cv2.INTER_LINEAR)


def _motion(image: Image, rng: Rng) -> Image:
    reach, angle = uniform(rng, 1.0, 3.0), uniform(rng, 0, np.pi)
    kernel = np.zeros((7, 7), dtype=np.uint8)
    step = reach * np.array([np.cos(angle), np.sin(angle)])
    ends = [tuple(int(v) for v in np.round((3 + sign * step) * 16)) for sign in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 255, 1, cv2.LINE_AA, 4)
    return np.asarray(cv2.filter2D(image, -1, kernel / np.float32(kernel.sum())), dtype=np.float32)


def _optics(image: Image, rng: Rng) -> Image:
    if chance(rng, 0.12):
        image = _motion(image, rng)
    elif chance(rng, 0.8):
        sigma = uniform(rng, 0.3, 0.8) if chance(rng, 0.8) else uniform(rng, 0.8, 1.4)
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), dtype=np.float32)
    if chance(rng, 0.25):
        height, width = image.shape[:2]
        shrink = uniform(rng, 0.6, 0.95)
        small_size = (int(width * shrink), int(height * shrink))
        small = cv2.resize(image, small_size, interpolation=cv2.INTER_AREA)
        image = np.asarray(cv2.resize(small, (width, height)), dtype=np.float32)
    return image


def _sensor(image: Image, rng: Rng) -> Image:
    size = (image.shape[0], image.shape[1])
    exposure = uniform(rng, 0.85, 1.15)
    gains = (exposure * uniform(rng, 0.93, 1.07), exposure, exposure * uniform(rng, 0.93, 1.07))
    exposed = np.asarray(cv2.multiply(image, _vignette(rng, gains, size)), dtype=np.float32)
    grain = white_noise(rng, size) * np.float32(uniform(rng, 0.003, 0.02))
    coarse = (size[0] // 4, size[1] // 4)
    blotch = enlarge(white_noise(rng, coarse) * np.float32(uniform(rng, 0.0, 0.008)), size)
    noise = cv2.merge([grain + blotch, grain, grain - blotch])
    return np.asarray(cv2.add(exposed, noise, dst=exposed), dtype=np.float32)


def jpeg_round_trip(photo: Photo, quality: int) -> Photo:
    bgr = cv2.cvtColor(photo, cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB)
    if decoded is None:
        raise ValueError("OpenCV could not read back the JPEG it just wrote")
    return np.asarray(decoded, dtype=np.uint8)


def photograph(image: Image, rng: Rng) -> Photo:
    exposed = _sensor(_optics(image, rng), rng)
    np.maximum(exposed, 0, out=exposed)  # the conversion below would fold negatives over
    photo = cv2.convertScaleAbs(exposed, alpha=255)
    return jpeg_round_trip(np.asarray(photo, dtype=np.uint8), int(rng.integers(*JPEG_QUALITY)))
