"""What the api refuses from the first bytes alone."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import pytest

from shared.errors import CorruptImage, ImageError, ImageTooLarge, UnsupportedImage
from shared.images import FORMATS, check_header, check_size, kind_of, open_checked
from tests.unit.shared import image_files as files

LIMITS = {"max_pixels": 50_000_000, "max_side": 20_000}


def test_the_formats_under_test_are_all_formats() -> None:
    assert set(files.FORMATS) == set(FORMATS)


@pytest.mark.parametrize("form", FORMATS)
def test_an_image_of_each_format_passes(form: str) -> None:
    data = files.encode(files.scene(), form)
    check_header(data, **LIMITS)
    assert kind_of(data) == form.lower()


@pytest.mark.parametrize("name", files.NOT_IMAGES)
def test_what_is_no_image_of_ours_is_unsupported(name: str) -> None:
    with pytest.raises(UnsupportedImage):
        check_header(files.NOT_IMAGES[name], **LIMITS)
    assert kind_of(files.NOT_IMAGES[name]) is None


@pytest.mark.parametrize(
    "data", [b"\x89PNG\r\n\x1a\n" + b"junk" * 9, b"\xff\xd8\xff" + b"junk" * 9]
)
def test_a_signature_alone_is_no_image(data: bytes) -> None:
    with pytest.raises(ImageError):
        check_header(data, **LIMITS)


@pytest.mark.parametrize("form", files.CLAIMS)
def test_absurd_dimensions_are_refused_before_memory_is_taken(form: str) -> None:
    data = files.CLAIMS[form](60_000, 60_000)
    tracemalloc.start()
    try:
        with pytest.raises(ImageTooLarge, match="60000x60000"):
            check_header(data, **LIMITS)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("options", [{}, {"lossless": True}, {"exif": b"Exif\0\0"}])
def test_the_size_of_every_kind_of_webp_is_read(options: dict[str, object]) -> None:
    data = files.encode(files.scene(300, 200), "WEBP", **options)
    check_header(data, max_pixels=60_000, max_side=300)
    with pytest.raises(ImageTooLarge, match="300x200"):
        check_header(data, max_pixels=59_999, max_side=300)


def test_a_small_tiff_of_huge_tiles_is_refused() -> None:
    with pytest.raises(ImageTooLarge):
        check_header(files.tiff(16, 16, tile=20_000), **LIMITS)


def test_a_jpeg_of_many_scans_is_refused() -> None:
    check_header(files.many_scans(10), **LIMITS)
    with pytest.raises(CorruptImage, match="scans"):
        check_header(files.many_scans(200), **LIMITS)


def test_scans_of_single_colours_are_counted_in_a_sequential_jpeg_too() -> None:
    check_header(files.scan_after_scan(10, whole=False), **LIMITS)
    with pytest.raises(CorruptImage, match="scans"):
        check_header(files.scan_after_scan(200, whole=False), **LIMITS)


@pytest.mark.parametrize("made", [files.scans_behind_a_comment, files.scans_in_an_mpo])
def test_nothing_plays_the_header_of_a_scan_of_all_colours(made: Callable[[int], bytes]) -> None:
    with pytest.raises(CorruptImage, match="scans"):
        check_header(made(200), **LIMITS)
    with pytest.raises(CorruptImage, match="scans"):
        open_checked(made(200), **LIMITS)


def test_a_large_jpeg_may_have_fewer_scans_than_a_small_one() -> None:
    data = files.many_scans(30, (400, 250))
    check_header(data, max_pixels=1_000_000, max_side=1000)
    with pytest.raises(CorruptImage, match="20 scans"):
        check_header(data, max_pixels=100_000, max_side=1000)


def test_a_video_after_the_jpeg_has_no_scans() -> None:
    check_header(files.encode(files.scene(), "JPEG") + b"\xff\xda\0\x02" * 500, **LIMITS)


@pytest.mark.parametrize(("width", "height"), [(0, 5), (5, 0), (-1, 5)])
def test_an_empty_image_is_corrupt(width: int, height: int) -> None:
    with pytest.raises(CorruptImage):
        check_size(width, height, **LIMITS)


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF"])
def test_a_file_that_claims_no_pixels_is_refused(form: str) -> None:
    with pytest.raises(ImageError):
        check_header(files.CLAIMS[form](0, 0), **LIMITS)


def test_the_limits_themselves_are_allowed() -> None:
    check_size(20, 5, max_pixels=100, max_side=20)
    with pytest.raises(ImageTooLarge):
        check_size(21, 1, max_pixels=100, max_side=20)
    with pytest.raises(ImageTooLarge):
        check_size(13, 8, max_pixels=103, max_side=20)
