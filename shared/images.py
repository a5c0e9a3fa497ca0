"""Which uploads are images we read, told from their first bytes alone.

The api calls `check_header` before it queues anything. It runs no native decoder, so that a file
made to crash one can at worst end a worker, which its supervisor restarts.
"""

from __future__ import annotations

import io
import re
from pathlib import Path

from PIL import Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile

from shared.avif import frame_sizes
from shared.errors import CorruptImage, ImageTooLarge, UnsupportedImage

#: Pillow's names of the formats we read, on every side; its JPEG opens MPO, which has no entry
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "BMP", "GIF", "TIFF")
#: for people
FORMATS_TEXT = "JPEG, PNG, WebP, AVIF, BMP, GIF or TIFF"
_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".avif", ".bmp", ".gif", ".tif", ".tiff"}

#: first bytes of what is neither WebP nor AVIF, and how a file of it ends
_STARTS = {
    b"\xff\xd8\xff": "jpeg", b"\x89PNG": "png", b"GIF8": "gif", b"BM": "bmp",
    b"II*\0": "tiff", b"MM\0*": "tiff", b"II+\0": "tiff", b"MM\0+": "tiff",
}  # fmt: skip

#: an ordinary progressive JPEG has about ten scans; each may cost a pass over the whole image
_MAX_SCANS = 100
#: of an image as large as the limit; a smaller one may have more
_SCANS_AT_LIMIT = 20
#: a marker that starts a segment with a length; not stuffing, fill bytes, TEM or a restart
_MARKER = re.compile(rb"\xff+[^\x00\x01\xd0-\xd7\xff]")
_SOS, _EOI = 0xDA, 0xD9
_TIFF_TILE_WIDTH, _TIFF_TILE_LENGTH = 322, 323

#: formats whose header Pillow reads in Python; the others open their native decoder at once
_HEADER_IN_PYTHON = ("JPEG", "PNG", "BMP", "GIF", "TIFF")

# Our own limits replace Pillow's, which only warns between 89 and 179 million pixels.
Image.MAX_IMAGE_PIXELS = None


def images_in(folder: Path) -> list[Path]:
    """The files that are named as images, at any depth, sorted."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in _SUFFIXES and p.is_file())


def kind_of(data: bytes) -> str | None:
    """Subtype of the media type `image/…` and also a suffix; None for what we do not read."""
    if _is_webp(data):
        return "webp"
    if _is_avif(data):
        return "avif"
    return next((kind for start, kind in _STARTS.items() if data.startswith(start)), None)


def check_header(data: bytes, *, max_pixels: int, max_side: int) -> None:
    """Raises UnsupportedImage, CorruptImage or ImageTooLarge; decodes no pixel."""
    if _is_webp(data):
        check_size(*_webp_size(data), max_pixels=max_pixels, max_side=max_side)
    elif _is_avif(data):
        _check_frames(data, max_pixels=max_pixels, max_side=max_side)
    else:
        with open_image(data, formats=_HEADER_IN_PYTHON) as image:
            _check_stored(image, data, max_pixels=max_pixels, max_side=max_side)


def open_checked(data: bytes, *, max_pixels: int, max_side: int) -> Image.Image:
    """For decoding: the header within the limits. Raises as `check_header`."""
    if _is_webp(data):  # before its decoder opens, and takes memory for the canvas
        check_size(*_webp_size(data), max_pixels=max_pixels, max_side=max_side)
    elif _is_avif(data):
        _check_frames(data, max_pixels=max_pixels, max_side=max_side)
    image = open_image(data)
    _check_stored(image, data, max_pixels=max_pixels, max_side=max_side)
    return image


def open_image(data: bytes, formats: tuple[str, ...] = FORMATS) -> Image.Image:
    """Reads the header. Raises UnsupportedImage or CorruptImage."""
    try:
        return Image.open(io.BytesIO(data), formats=formats)
    except UnidentifiedImageError:
        if _has_signature(data):
            raise CorruptImage("The image header is truncated or damaged.") from None
        raise UnsupportedImage(f"This is not a {FORMATS_TEXT} image.") from None
    except Exception as error:  # Pillow's header parsers raise nearly anything on hostile input
        raise CorruptImage("The image header is damaged.") from error


def _has_signature(data: bytes) -> bool:
    """Whether the first bytes are those of a format we read."""
    accepts = (Image.OPEN[name][1] for name in FORMATS if name in Image.OPEN)
    return any(accept(data[:16]) is True for accept in accepts if accept)


def _check_stored(image: Image.Image, data: bytes, *, max_pixels: int, max_side: int) -> None:
    """The size, and what else makes a small file cost a decoder much time or memory."""
    check_size(*image.size, max_pixels=max_pixels, max_side=max_side)
    if isinstance(image, TiffImageFile):
        tags = image.tag_v2
        tile = tags.get(_TIFF_TILE_WIDTH, 1), tags.get(_TIFF_TILE_LENGTH, 1)
        if not all(isinstance(side, int) for side in tile):
            raise CorruptImage("The image header is damaged.")
        check_size(*tile, max_pixels=max_pixels, max_side=max_side)
    elif isinstance(image, JpegImageFile) and not _has_one_scan(image, data):
        passes = _SCANS_AT_LIMIT * max_pixels // (image.width * image.height)
        _check_scans(data, most=min(_MAX_SCANS, passes))


def _check_frames(data: bytes, *, max_pixels: int, max_side: int) -> None:
    """Raises CorruptImage or ImageTooLarge for what an AVIF would make its decoder allocate."""
    try:
        sizes = frame_sizes(data)
    except (ValueError, KeyError, IndexError) as error:
        raise CorruptImage("The image header is damaged.") from error
    if not sizes:
        raise CorruptImage("The AVIF holds no image.")
    for size in sizes:
        check_size(*size, max_pixels=max_pixels, max_side=max_side)


def _has_one_scan(image: JpegImageFile, data: bytes) -> bool:
    """Whether all colours are in the first scan: after that, libjpeg stands no other.

    Read where Pillow stopped, at the end of that scan's header (T.81, B.2.3). Not of an MPO, which
    it has rewound, nor of four colours, whose header a comment before a shorter one could play.
    """
    progressive = image.info.get("progressive")
    if type(image) is not JpegImageFile or image.layers > 3 or progressive or image.fp is None:
        return False
    length = 6 + 2 * image.layers
    start = image.fp.tell() - length - 2
    return start > 0 and data.startswith(
        b"\xff\xda" + length.to_bytes(2) + bytes([image.layers]), start
    )


def _check_scans(data: bytes, *, most: int) -> None:
    """Raises CorruptImage for a JPEG of many scans, each of which costs a pass over the image."""
    if data.count(b"\xff\xda") <= most:  # nearly always, and much faster than to walk
        return
    scans, position = 0, 2
    while scans <= most:
        marker = _MARKER.search(data, position)
        if marker is None or data[marker.end() - 1] == _EOI:
            return
        scans += data[marker.end() - 1] == _SOS
        position = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2])
    raise CorruptImage(f"The JPEG has more than {most} scans.")


def check_size(width: int, height: int, *, max_pixels: int, max_side: int) -> None:
    """Raises CorruptImage for an empty image, ImageTooLarge beyond either limit."""
    if width < 1 or height < 1:
        raise CorruptImage(f"The image is {width}x{height} pixels.")
    if width * height > max_pixels or max(width, height) > max_side:
        raise ImageTooLarge(
            f"The image is {width}x{height} pixels; the limits are {max_pixels} pixels "
            f"and {max_side} on a side."
        )


def pixels_at_once(data: bytes, *, max_pixels: int) -> int:
    """What a decoder allocates as soon as it opens the file; 0 for those that only read a header.

    An AVIF may be scaled up or down after it is decoded: it counts as the largest that is allowed.
    """
    if _is_webp(data):
        width, height = _webp_size(data)
        return min(width * height, max_pixels)
    return max_pixels if _is_avif(data) else 0


def _is_webp(data: bytes) -> bool:
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP"


def _webp_size(data: bytes) -> tuple[int, int]:
    """The canvas, of which libwebp reserves two copies as soon as it opens the file."""
    if data[12:16] == b"VP8X":
        width, height = data[24:27], data[27:30]
        return int.from_bytes(width, "little") + 1, int.from_bytes(height, "little") + 1
    if data[12:16] == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = data[26:28], data[28:30]
    return int.from_bytes(width, "little") & 0x3FFF, int.from_bytes(height, "little") & 0x3FFF


def _is_avif(data: bytes) -> bool:
    return data[4:8] == b"ftyp" and data[8:12] in (b"avif", b"avis", b"mif1", b"msf1")
