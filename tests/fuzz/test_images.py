"""Whatever the bytes: an upright RGB array within the limits, or an ImageError; nothing else, ever.

`make test` tries the same files each time; `make fuzz` looks for new ones until it is stopped.
"""

from __future__ import annotations

import io
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from shared.errors import ImageError
from shared.images import check_header
from shared.model.decode import decode
from tests.unit.shared import image_files as files

LIMITS = {"max_pixels": 200_000, "max_side": 5_000}
#: in the suite; `make fuzz` has its own number
EXAMPLES = {"max_examples": 800} if settings.default.derandomize else {}

pytestmark = pytest.mark.filterwarnings("ignore")  # Pillow warns of many an odd file


def _corpus() -> list[bytes]:
    scene = Image.fromarray(files.scene(48, 32))
    found = [files.encode(scene, form) for form in files.FORMATS]
    for mode, form in [
        ("1", "PNG"), ("P", "PNG"), ("LA", "PNG"), ("RGBA", "PNG"), ("I;16", "PNG"),
        ("CMYK", "JPEG"), ("L", "JPEG"), ("P", "GIF"), ("P", "BMP"), ("RGBA", "WEBP"),
        ("CMYK", "TIFF"), ("I;16", "TIFF"), ("1", "TIFF"), ("RGBA", "AVIF"), ("F", "TIFF"),
    ]:  # fmt: skip
        found.append(files.encode(scene.convert("L" if mode == "I;16" else mode), form))
    found += [
        files.encode(scene, "JPEG", progressive=True),
        files.encode(scene, "WEBP", lossless=True),
        *(files.encode(scene, "TIFF", compression=name)
          for name in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits")),
        files.tiff(16, 16, tile=16, data=zlib.compress(bytes(768))),
        *(_animated(form) for form in ("GIF", "WEBP", "PNG", "AVIF")),
    ]  # fmt: skip
    return found


def _animated(form: str) -> bytes:
    frames = [Image.fromarray(files.scene(24 + n, 20)).resize((24, 20)) for n in range(3)]
    buffer = io.BytesIO()
    frames[0].save(buffer, form, save_all=True, append_images=frames[1:])
    return buffer.getvalue()


CORPUS = _corpus()
TAILS = [data for claim in files.CLAIMS.values() for data in (claim(60_000, 60_000), claim(1, 1))]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A sound file with a few bytes overwritten, cut out, repeated, or taken from another."""
    data = bytearray(draw(st.sampled_from(CORPUS)))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, min(len(data), draw(st.sampled_from([64, 400, 10**6])))))
        match draw(st.sampled_from(["overwrite", "flip", "cut", "repeat", "graft", "huge"])):
            case "overwrite":
                new = draw(st.binary(min_size=1, max_size=8))
                data[at : at + len(new)] = new
            case "flip" if at < len(data):
                data[at] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del data[at : at + draw(st.integers(1, 200))]
            case "repeat":
                data[at:at] = data[at : at + draw(st.integers(1, 64))] * draw(st.integers(1, 20))
            case "graft":
                other = draw(st.sampled_from(CORPUS + TAILS))
                data[at:] = other[draw(st.integers(0, len(other))) :]
            case "huge":
                new = draw(st.sampled_from([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0"]))
                data[at : at + 4] = new
    return bytes(data)


def judge(data: bytes) -> None:
    try:
        check_header(data, **LIMITS)
    except ImageError:
        with pytest.raises(ImageError):  # what the api refuses, no worker may read
            decode(data, min_side=24, **LIMITS)
        return
    try:
        pixels = decode(data, min_side=24, **LIMITS)
    except ImageError:
        return
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3 and pixels.shape[2] == 3
    assert 0 < pixels.size // 3 <= LIMITS["max_pixels"]
    assert pixels.flags.c_contiguous


@settings(**EXAMPLES)
@given(mutated())
def test_a_damaged_file(data: bytes) -> None:
    judge(data)


@settings(max_examples=300 if EXAMPLES else settings.default.max_examples)
@given(st.sampled_from([data[:16] for data in CORPUS]), st.binary(max_size=400))
def test_a_signature_and_anything(start: bytes, rest: bytes) -> None:
    judge(start + rest)


@settings(max_examples=300 if EXAMPLES else settings.default.max_examples)
@given(
    st.sampled_from(["RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "I;16"]),
    st.sampled_from(files.FORMATS),
    st.integers(1, 70),
    st.integers(1, 70),
    st.integers(1, 8),
)
def test_a_sound_file_of_any_kind_and_size(
    mode: str, form: str, width: int, height: int, orientation: int
) -> None:
    image = Image.fromarray(files.scene(width, height))
    image = Image.fromarray(files.scene(width, height)[:, :, 0]) if mode == "I;16" else image
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, Any] = {} if form in ("BMP", "GIF") else {"exif": exif}
    buffer = io.BytesIO()
    try:
        image.convert(mode).save(buffer, form, **options)
    except (OSError, ValueError):
        return  # Pillow writes no such file
    pixels = decode(buffer.getvalue(), min_side=10**6, **LIMITS)
    turned = orientation > 4 and bool(options)
    assert pixels.shape == ((width, height, 3) if turned else (height, width, 3))


def test_every_file_of_the_corpus_is_sound_but_floats() -> None:
    refused = 0
    for data in CORPUS:
        try:
            decode(data, min_side=24, **LIMITS)
        except ImageError:
            refused += 1
    assert refused == 1
