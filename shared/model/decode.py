"""Bytes to pixels: one defined meaning for every kind of image, the same in training and serving.

Transparent pixels lie on white, 16-bit grey is scaled by its full range, the EXIF orientation is
applied, and of an animation the first frame counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition, Lock

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from shared.errors import CorruptImage, UnsupportedPixels
from shared.images import open_checked, pixels_at_once

Pixels = NDArray[np.uint8]

_EXIF_ORIENTATION = 0x0112
#: a JPEG is decoded at one part in so many: these libjpeg-turbo computes with SIMD; 6/8, say, costs
#: twice as much as the whole
_REDUCTIONS = (8, 4, 2)
#: a JPEG that is decoded at a fraction of its size takes this part of the memory
_JPEG_SHARE = 8
#: turns the stored pixels upright, by EXIF orientation 2..8
_UPRIGHT = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: a[::-1].transpose(1, 0, 2),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: a[:, ::-1].transpose(1, 0, 2),
}


def decode(data: bytes, *, min_side: int, max_pixels: int, max_side: int) -> Pixels:
    """Encoded image to upright RGB, uint8 [height, width, 3].

    A large JPEG is decoded at a half, a quarter or an eighth of its size, if that is at least
    `min_side` on both sides.
    Raises UnsupportedImage, ImageTooLarge, CorruptImage or UnsupportedPixels.
    """
    limits = {"max_pixels": max_pixels, "max_side": max_side}
    if at_once := pixels_at_once(data, max_pixels=max_pixels):
        with _room.take(at_once, of=max_pixels), open_checked(data, **limits) as image:
            return _decode_all(image)
    with open_checked(data, **limits) as image:
        stored = image.width * image.height
        if image.format in ("JPEG", "MPO") and image.mode in ("RGB", "L"):
            with _room.take(stored // _JPEG_SHARE, of=max_pixels):
                pixels = _decode_jpeg(data, *_reduced(image.size, min_side))
            if pixels is not None:
                return _upright(pixels, _orientation(image))
        with _room.take(stored, of=max_pixels):
            return _decode_all(image)


class _Room:
    """Bounds the pixels that are decoded at once: one costs up to 30 bytes until it is done.

    Who comes first goes first, so that a large image gets its turn.
    """

    def __init__(self) -> None:
        self._turn = Lock()
        self._changed = Condition()
        self._taken = 0

    @contextmanager
    def take(self, pixels: int, *, of: int) -> Iterator[None]:
        with self._turn, self._changed:
            self._changed.wait_for(lambda: self._taken + pixels <= of)
            self._taken += pixels
        try:
            yield
        finally:
            with self._changed:
                self._taken -= pixels
                self._changed.notify_all()


_room = _Room()


def _decode_all(image: Image.Image) -> Pixels:
    pixels = np.asarray(_to_rgb(_load(image)))
    return _upright(pixels, _orientation(image))  # once loaded: a TIFF has then been turned


def _reduced(size: tuple[int, int], min_side: int) -> tuple[int, int]:
    """Width and height at the smallest fraction that keeps `min_side`."""
    for by in _REDUCTIONS:
        width, height = (-(-side // by) for side in size)
        if min(width, height) >= min_side:
            return width, height
    return size


def _decode_jpeg(data: bytes, width: int, height: int) -> Pixels | None:
    """None when libjpeg-turbo finds anything odd: Pillow then decides."""
    try:
        pixels: Pixels = simplejpeg.decode_jpeg(
            data, "RGB", fastdct=True, min_height=height, min_width=width, strict=True
        )
    except ValueError:
        return None
    return pixels


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:  # a damaged EXIF block says nothing about the pixels
        return 1


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    turn = _UPRIGHT.get(orientation)
    return np.ascontiguousarray(turn(pixels)) if turn else pixels


def _load(image: Image.Image) -> Image.Image:
    try:
        image.load()
    except Exception as error:  # decoders raise nearly anything on damaged input
        raise CorruptImage("The image is truncated or damaged.") from error
    return image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode == "I":
        return _from_16_bit(image)
    if image.mode == "F":
        raise UnsupportedPixels("Images of floating-point pixels have no defined range here.")
    try:
        if image.mode == "La":  # premultiplied grey, which Pillow turns into nothing but LA
            image = image.convert("LA")
        if image.has_transparency_data:
            image = image.convert("RGBA")
            white = Image.new("RGBA", image.size, "white")
            return Image.alpha_composite(white, image).convert("RGB")
        return image.convert("RGB")
    except (ValueError, OSError) as error:
        raise UnsupportedPixels(f"Images of mode {image.mode} are not read here.") from error


def _from_16_bit(image: Image.Image) -> Image.Image:
    """Pillow's own conversion would clip all but the darkest 1/256 of the range."""
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise UnsupportedPixels("Images of 32-bit pixels have no defined range here.")
    grey = np.round(values.astype(np.float32) / 257).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")


# Parallelism comes from the task threads; OpenCV's own pool would only compete with them.
cv2.setNumThreads(1)
