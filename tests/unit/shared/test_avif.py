"""How large the frames of an AVIF really are."""

from __future__ import annotations

import io
import time

import pytest
from PIL import Image

from shared.avif import frame_sizes
from shared.errors import CorruptImage, ImageTooLarge
from shared.images import check_header
from tests.unit.shared import image_files as files


def animated() -> bytes:
    frames = [Image.new("RGB", (40, 30), colour) for colour in ("red", "green")]
    buffer = io.BytesIO()
    frames[0].save(buffer, "AVIF", save_all=True, append_images=frames[1:])
    return buffer.getvalue()


@pytest.mark.parametrize("size", [(1, 1), (64, 48), (300, 2), (1025, 700)])
def test_a_still_image_has_its_size(size: tuple[int, int]) -> None:
    assert frame_sizes(files.encode(Image.new("RGB", size), "AVIF", speed=10)) == [size]


def test_transparency_is_a_frame_of_its_own() -> None:
    data = files.encode(Image.new("RGBA", (64, 48), (1, 2, 3, 4)), "AVIF", speed=10)
    assert frame_sizes(data) == [(64, 48)] * 2


def test_of_an_animation_tracks_count_too() -> None:
    sizes = frame_sizes(animated())
    assert len(sizes) >= 2
    assert set(sizes) == {(40, 30)}


def test_the_stream_counts_and_not_the_container() -> None:
    data = files.lying_avif(640, 480)
    assert frame_sizes(data) == [(640, 480)]
    with pytest.raises(ImageTooLarge, match="640x480"):
        check_header(data, max_pixels=640 * 480 - 1, max_side=640)


@pytest.mark.parametrize("box", [b"iloc", b"iinf", b"meta", b"mdat"])
def test_a_file_without_what_it_needs_is_corrupt(box: bytes) -> None:
    data = files.encode(files.scene(), "AVIF", speed=10).replace(box, b"free")
    if box == b"mdat":
        data = data[: data.index(b"free")]
    with pytest.raises(CorruptImage):
        check_header(data, max_pixels=9**9, max_side=9**9)


def test_a_stream_of_a_million_empty_units_is_no_work() -> None:
    data = bytearray(files.encode(files.scene(), "AVIF", speed=10))
    at = data.index(b"mdat") + 4
    data[at:] = b"\x12\0" * 10**6  # temporal delimiters
    began = time.perf_counter()
    with pytest.raises(CorruptImage):
        check_header(bytes(data), max_pixels=9**9, max_side=9**9)
    assert time.perf_counter() - began < 5
