"""Bytes to pixels: one meaning for every kind of image, and one error family for every other."""

from __future__ import annotations

import contextlib
import io
import random
import resource
import struct
import time
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any

import numpy as np
import pytest
import simplejpeg
from PIL import Image, ImageOps

from shared.errors import CorruptImage, ImageError, ImageTooLarge, UnsupportedImage
from shared.errors import UnsupportedPixels as Unsupported
from shared.images import FORMATS, check_header
from shared.model.decode import Pixels, _Room, decode
from tests.unit.shared import image_files as files
from tests.unit.shared.image_files import encode, scene

LIMITS: dict[str, int] = {"max_pixels": 50_000_000, "max_side": 20_000}
LOSSLESS = {"PNG": {}, "BMP": {}, "TIFF": {}, "WEBP": {"lossless": True}}


def _decode(data: bytes, min_side: int = 10_000) -> Pixels:
    return decode(data, min_side=min_side, **LIMITS)


def _close(found: Pixels, expected: Any, mean: float = 3.0) -> bool:
    assert found.dtype == np.uint8
    assert found.shape == np.shape(expected)
    return float(np.abs(found.astype(float) - np.asarray(expected, float)).mean()) <= mean


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_gives_its_picture(form: str) -> None:
    assert _close(_decode(encode(scene(), form)), scene(), mean=4)


@pytest.mark.parametrize(("form", "options"), LOSSLESS.items())
def test_a_lossless_format_gives_exactly_its_picture(form: str, options: dict[str, Any]) -> None:
    assert np.array_equal(_decode(encode(scene(), form, **options)), scene())


@pytest.mark.parametrize("name", files.NOT_IMAGES)
def test_what_is_no_image_of_ours_is_unsupported(name: str) -> None:
    with pytest.raises(UnsupportedImage):
        _decode(files.NOT_IMAGES[name])


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kept", [0.02, 0.1, 0.3, 0.5, 0.7, 0.9])
def test_half_an_image_is_refused(form: str, kept: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    data = encode(noise, form)
    with pytest.raises(ImageError):
        _decode(data[: int(len(data) * kept)])


@pytest.mark.parametrize(
    "data",
    [
        b"\x89PNG\r\n\x1a\n" + b"junk" * 99,
        b"\xff\xd8\xff\xe0" + b"junk" * 99,
        b"RIFF\x40\0\0\0WEBP" + b"junk" * 99,
        b"\0\0\0\x20ftypavif" + b"junk" * 99,
        b"GIF89a" + b"junk" * 99,
        b"II*\0" + b"junk" * 99,
        b"BM" + b"junk" * 99,
    ],
)
def test_a_signature_with_junk_is_refused(data: bytes) -> None:
    with pytest.raises(ImageError):
        _decode(data)


@pytest.mark.parametrize("form", files.CLAIMS)
def test_absurd_dimensions_are_refused_before_memory_is_taken(form: str) -> None:
    data = files.CLAIMS[form](60_000, 60_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ImageTooLarge):
        _decode(data)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB


@pytest.mark.parametrize("side", [30_000, 60_000])
def test_an_avif_of_absurd_dimensions_is_refused(side: int) -> None:
    with pytest.raises(ImageError):
        _decode(files.avif(side, 8_000))


def test_a_small_tiff_of_huge_tiles_is_refused_before_it_is_inflated() -> None:
    data = files.tiff(16, 16, tile=20_000, data=zlib.compress(bytes(1_000_000)))
    with pytest.raises(ImageTooLarge):
        _decode(data)


def test_a_tiled_tiff_is_read() -> None:
    body = zlib.compress(bytes([9, 8, 7]) * 256)
    assert (_decode(files.tiff(16, 16, tile=16, data=body)) == [9, 8, 7]).all()


def test_after_a_scan_of_all_colours_no_other_costs_anything() -> None:
    data = files.scan_after_scan(200, whole=True)
    check_header(data, **LIMITS)  # they need not be counted, since
    with pytest.raises(CorruptImage):
        _decode(data)
    with pytest.raises(ValueError, match="more than one scan"):
        simplejpeg.decode_jpeg(data)


def test_a_jpeg_of_many_scans_is_refused() -> None:
    with pytest.raises(CorruptImage, match="scans"):
        _decode(files.many_scans(200))


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_the_whole_range_of_16_bits_is_kept(form: str) -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)[None].repeat(4, 0)
    found = _decode(encode(Image.fromarray(ramp), form))
    assert np.array_equal(
        found, np.arange(256, dtype=np.uint8)[None, :, None].repeat(4, 0).repeat(3, 2)
    )


def test_a_big_endian_tiff_of_16_bits_is_read() -> None:
    ramp = np.linspace(0, 65535, 256).astype(">u2")[None].repeat(4, 0)
    image = Image.frombytes("I;16B", (256, 4), ramp.tobytes())
    assert np.array_equal(_decode(encode(image, "TIFF"))[0, :, 0], np.arange(256))


@pytest.mark.parametrize("form", ["PNG", "TIFF", "BMP"])
def test_one_bit_is_black_and_white(form: str) -> None:
    dark = scene()[:, :, 0] < 128
    found = _decode(encode(Image.fromarray(dark), form))
    assert np.array_equal(found[:, :, 1] > 0, dark)
    assert set(np.unique(found)) == {0, 255}


def test_premultiplied_grey_lies_on_white_like_any_other() -> None:
    straight = encode(Image.new("LA", (4, 4), (0, 128)), "TIFF")
    extra_samples = struct.pack("<HHI", 338, 3, 1)
    premultiplied = straight.replace(extra_samples + b"\x02", extra_samples + b"\x01")
    assert premultiplied != straight
    assert (_decode(premultiplied) == 127).all()


def test_grey_has_three_equal_channels() -> None:
    grey = scene()[:, :, 0]
    assert np.array_equal(_decode(encode(grey, "PNG")), np.stack([grey] * 3, 2))
    assert _close(_decode(encode(grey, "JPEG")), np.stack([grey] * 3, 2))


def test_a_cmyk_jpeg_is_rgb() -> None:
    data = encode(Image.fromarray(scene()).convert("CMYK"), "JPEG", quality=95)
    assert _close(_decode(data), scene(), mean=4)


def test_a_ycck_jpeg_is_rgb() -> None:
    # Given a CMYK JPEG whose Adobe marker says that its channels are YCCK
    data = encode(Image.new("CMYK", (16, 16), (0, 0, 0, 0)), "JPEG")
    at = data.index(b"Adobe") + 11
    found = _decode(data[:at] + b"\x02" + data[at + 1 :])
    assert found.shape == (16, 16, 3)


def test_a_palette_is_looked_up() -> None:
    image = Image.fromarray(scene()).quantize(64)
    assert np.array_equal(_decode(encode(image, "PNG")), np.asarray(image.convert("RGB")))


def test_transparent_entries_of_a_palette_are_white() -> None:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([200, 0, 0, 0, 0, 200])
    image.putpixel((0, 0), 0)
    for form in ("PNG", "GIF"):
        found = _decode(encode(image, form, transparency=0))
        assert found[0, 0].tolist() == [255, 255, 255]
        assert found[4, 4].tolist() == [0, 0, 200]


@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF"])
def test_a_hidden_colour_does_not_show(form: str) -> None:
    options = {"lossless": True, "exact": True} if form == "WEBP" else {}
    data = encode(Image.new("RGBA", (8, 8), (200, 10, 10, 0)), form, **options)
    assert (_decode(data) == 255).all()


def test_half_transparent_pixels_are_mixed_with_white() -> None:
    found = _decode(encode(Image.new("LA", (8, 8), (0, 128)), "PNG"))
    assert (np.abs(found.astype(int) - 127) <= 1).all()


def test_a_transparent_colour_is_white() -> None:
    image = Image.new("RGB", (8, 8), (1, 2, 3))
    assert (_decode(encode(image, "PNG", transparency=(1, 2, 3))) == 255).all()


def test_the_jpeg_fast_path_turns_by_every_orientation(orientation: int) -> None:
    data = _oriented(orientation, "JPEG", quality=95)
    assert _close(_decode(data), ImageOps.exif_transpose(Image.open(io.BytesIO(data))))


@pytest.fixture(params=range(1, 9))
def orientation(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def _oriented(orientation: int, form: str, **options: Any) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode(scene(), form, exif=exif, **options)


@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF", "AVIF"])
def test_other_formats_turn_by_every_orientation(form: str, orientation: int) -> None:
    data = _oriented(orientation, form)
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        upright = np.asarray(ImageOps.exif_transpose(image))
    assert np.array_equal(_decode(data), upright)


def test_all_orientations_show_the_same_photo() -> None:
    undone = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}
    for orientation, inverse in undone.items():
        stored = ImageOps.exif_transpose(_tagged(Image.fromarray(scene()), inverse))
        exif = Image.Exif()
        exif[0x0112] = orientation
        assert np.array_equal(_decode(encode(stored, "PNG", exif=exif)), scene())


def _tagged(image: Image.Image, orientation: int) -> Image.Image:
    image.getexif()[0x0112] = orientation
    return image


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG", "AVIF", "TIFF"])
def test_of_several_frames_the_first_counts(form: str) -> None:
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue")]
    options = {"save_all": True, "append_images": frames[1:]}
    assert _close(_decode(encode(frames[0], form, **options)), np.asarray(frames[0]), mean=4)


def test_of_a_multi_picture_jpeg_the_first_counts() -> None:
    first, second = Image.fromarray(scene()), Image.new("RGB", (96, 64), "blue")
    data = encode(first, "MPO", save_all=True, append_images=[second])
    check_header(data, **LIMITS)
    assert _close(_decode(data), scene())


def test_float_pixels_have_no_meaning() -> None:
    with pytest.raises(Unsupported):
        _decode(encode(Image.new("F", (4, 4), 0.5), "TIFF"))


@pytest.mark.parametrize("value", [-1, 65536])
def test_32_bit_pixels_have_no_meaning(value: int) -> None:
    with pytest.raises(Unsupported):
        _decode(encode(Image.new("I", (4, 4), value), "TIFF"))


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (30, 5000)])
@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_thin_images_are_images(form: str, shape: tuple[int, int]) -> None:
    found = _decode(encode(np.full((*shape, 3), 77, np.uint8), form), min_side=64)
    assert min(found.shape[:2]) == min(shape)
    assert max(found.shape[:2]) >= min(max(shape), 64)
    assert abs(int(found[0, 0, 0]) - 77) <= 3


def test_a_jpeg_with_bytes_after_its_end_is_read() -> None:
    data = encode(scene(), "JPEG")
    assert np.array_equal(_decode(data + b"trailing garbage" * 99), _decode(data))


def test_a_damaged_exif_block_does_not_cost_the_image() -> None:
    for exif in (
        b"Exif\0\0junk",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0MM\0*\0\0\0\x08\xff\xff",
    ):
        for form in ("JPEG", "PNG", "WEBP"):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow's, about the block
                assert _close(_decode(encode(scene(), form, exif=exif)), scene(), mean=4)


def test_an_orientation_counts_though_the_rest_of_its_block_is_damaged() -> None:
    # Given EXIF of two entries: a rotation, and one that points outside of the block
    entries = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0) + struct.pack("<HHII", 0x010F, 2, 99, 9999)
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + entries + bytes(4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, about the block
        shapes = {_decode(encode(scene(), form, exif=exif)).shape for form in ("JPEG", "PNG")}
    assert shapes == {(96, 64, 3)}


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
@pytest.mark.parametrize("min_side", [1, 64, 150, 300, 599, 600])
def test_a_large_jpeg_is_decoded_smaller_but_large_enough(
    min_side: int, options: dict[str, Any]
) -> None:
    data = encode(scene(1000, 600), "JPEG", quality=92, **options)
    found = _decode(data, min_side)
    height, width = found.shape[:2]
    assert min_side <= min(height, width) <= 600
    full = Image.fromarray(_decode(data)).resize((width, height), Image.Resampling.BOX)
    assert _close(found, full)


def test_scaling_saves_work() -> None:
    assert _decode(encode(scene(1000, 600), "JPEG"), 64).shape[0] <= 150


def test_a_small_jpeg_is_never_enlarged() -> None:
    assert _decode(encode(scene(96, 64), "JPEG"), 224).shape == (64, 96, 3)


def _mutated(data: bytes, rng: random.Random) -> bytes:
    mutant = bytearray(data)
    for _ in range(rng.choice((1, 2, 5, 20))):
        at = rng.randrange(min(len(mutant), rng.choice((64, 300, len(mutant)))))
        match rng.randrange(4):
            case 0:
                mutant[at] ^= 1 << rng.randrange(8)
            case 1:
                mutant[at] = rng.choice((0, 1, 127, 128, 255))
            case 2:
                del mutant[at : at + rng.randrange(1, 9)]
            case _:
                mutant[at:at] = rng.randbytes(rng.randrange(1, 9))
    return bytes(mutant)


def _specimens() -> list[bytes]:
    exif = Image.Exif()
    exif[0x0112] = 6
    frames = {"save_all": True, "append_images": [Image.fromarray(scene(32, 24))]}
    small = Image.fromarray(scene(32, 24))
    return [
        *(encode(small, form) for form in FORMATS),
        *(encode(small, form, exif=exif) for form in ("JPEG", "PNG", "WEBP")),
        *(encode(small, form, **frames) for form in ("GIF", "PNG", "WEBP", "MPO")),
        encode(small.convert("CMYK"), "JPEG"),
        encode(small, "JPEG", progressive=True),
        encode(small.quantize(16), "PNG", transparency=bytes(range(16))),
        encode(small, "TIFF", compression="tiff_lzw"),
        encode(small, "TIFF", compression="jpeg"),
    ]


@pytest.mark.parametrize("number", range(19))
def test_damage_of_any_kind_is_an_image_error(number: int) -> None:
    rng, data = random.Random(number), _specimens()[number]
    for _ in range(25):
        mutant = _mutated(data, rng)
        for read in (_decode, lambda found: check_header(found, **LIMITS)):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow's, about the damage
                with contextlib.suppress(ImageError):
                    read(mutant)


def test_large_images_wait_for_each_other_and_small_ones_do_not() -> None:
    room, inside, most = _Room(), 0, 0
    lock = Lock()

    def visit(pixels: int) -> None:
        nonlocal inside, most
        with room.take(pixels, of=100):
            with lock:
                inside += pixels
                most = max(most, inside)
            time.sleep(0.001)
            with lock:
                inside -= pixels

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(visit, [60, 100, 5, 40, 1, 0, 100, 30] * 20))
    assert (inside, most) == (0, 100)


def test_room_is_given_back_when_decoding_fails() -> None:
    room = _Room()
    with pytest.raises(CorruptImage), room.take(100, of=100):
        raise CorruptImage
    with room.take(100, of=100):
        pass
