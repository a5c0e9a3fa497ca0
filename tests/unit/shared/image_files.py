"""Image files for tests: one of each format, and small files that lie about themselves."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "BMP", "GIF", "TIFF")
Array = NDArray[Any]


def scene(width: int = 96, height: int = 64) -> Array:
    """A smooth RGB picture whose four corners differ, so that turns and flips show."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    return np.stack([220 * x + 20, 220 * y + 20, 120 + 100 * x * y], 2).astype(np.uint8)


def encode(pixels: Array | Image.Image, form: str, **options: Any) -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width: int, height: int, body: bytes = b"") -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def gif(width: int, height: int) -> bytes:
    """The screen is small; the frame is what claims to be large."""
    table = b"\0\0\0\xff\xff\xff"
    frame = b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x44\x01\0;"
    return b"GIF89a" + struct.pack("<HHBBB", 4, 4, 0x80, 0, 0) + table + frame


def bmp(width: int, height: int) -> bytes:
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + info + bytes(16)


def tiff(width: int, height: int, *, tile: int | None = None, data: bytes = b"\0" * 16) -> bytes:
    """RGB, deflated; in strips or in square tiles."""
    where = (324, 325) if tile else (273, 279)
    tags = [(256, width), (257, height), (259, 8), (262, 2), (277, 3), (284, 1)]
    tags += [(322, tile), (323, tile)] if tile else [(278, height)]
    count = len(tags) + 3
    end = 8 + 2 + 12 * count + 4
    tags += [(where[0], end + 6), (where[1], len(data))]
    entries = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags]
    entries.append(struct.pack("<HHII", 258, 3, 3, end))
    entries.sort(key=lambda entry: struct.unpack("<H", entry[:2]))
    head = b"II*\0" + struct.pack("<IH", 8, count)
    return head + b"".join(entries) + bytes(4) + struct.pack("<3H", 8, 8, 8) + data


def jpeg(width: int, height: int) -> bytes:
    data = bytearray(encode(scene(), "JPEG"))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def webp(width: int, height: int) -> bytes:
    """An animation of one small frame on a large canvas."""
    image = encode(scene(64, 64), "WEBP")[12:]
    frame = bytes(6) + (63).to_bytes(3, "little") * 2 + b"\x64\0\0\0" + image
    canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"VP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + canvas
    body += b"ANIM" + struct.pack("<IIH", 6, 0, 0)
    body += b"ANMF" + struct.pack("<I", len(frame)) + frame
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def avif(width: int, height: int) -> bytes:
    data = bytearray(encode(scene(), "AVIF", speed=10))
    at = data.index(b"ispe") + 8
    data[at : at + 8] = struct.pack(">II", width, height)
    return bytes(data)


def lying_avif(width: int, height: int, says: tuple[int, int] = (64, 64)) -> bytes:
    """A frame of that size, in a container that claims another."""
    data = bytearray(encode(Image.new("RGB", (width, height)), "AVIF", speed=10))
    at = data.index(b"ispe") + 8
    data[at : at + 8] = struct.pack(">II", *says)
    return bytes(data)


def many_scans(scans: int, size: tuple[int, int] = (96, 64)) -> bytes:
    data = encode(scene(*size), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * scans + data[-2:]


def scan_after_scan(scans: int, *, whole: bool) -> bytes:
    """A sequential JPEG; the first scan says that it is of all colours, or else of one."""
    data = encode(scene(), "JPEG")
    start = data.rindex(b"\xff\xda")
    first = data[start:-2]
    if not whole:
        first = b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00" + first[14:]
    return data[:start] + first * scans + data[-2:]


def scans_behind_a_comment(scans: int) -> bytes:
    """Of four colours; a comment looks like the header of a scan of all of them, to who measures
    from the end of the real one."""
    data = encode(Image.fromarray(scene()).convert("CMYK"), "JPEG")
    start = data.rindex(b"\xff\xda")
    comment = b"\xff\xfe\x00\x08\xff\xda\x00\x0e\x04\x00"
    single = b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00\x00"
    return data[:start] + comment + single * scans + data[-2:]


def scans_in_an_mpo(scans: int) -> bytes:
    """Of single colours; its end looks like the header of a scan of all of them."""
    second = Image.new("RGB", (8, 8))
    data = encode(scene(), "MPO", save_all=True, append_images=[second])
    start = data.index(b"\xff\xda")
    single = b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00\x00"
    return data[:start] + single * scans + b"\xff\xd9" + b"\xff\xda\x00\x0c\x03" + bytes(9)


CLAIMS = {"PNG": png, "GIF": gif, "BMP": bmp, "TIFF": tiff, "JPEG": jpeg, "WEBP": webp}
NOT_IMAGES = {
    "empty": b"",
    "text": b"hello, this is no image at all\n" * 9,
    "html": b"<!doctype html><html></html>",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"></svg>',
    "pdf": b"%PDF-1.7\n1 0 obj\n<< >>\nendobj\n",
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n",
    "psd": b"8BPS\0\x01" + bytes(6) + struct.pack(">HIIHH", 3, 9, 9, 8, 3) + bytes(12),
    "ico": encode(scene(32, 32), "ICO"),
    "ppm": encode(scene(), "PPM"),
    "tga": encode(scene(), "TGA"),
    "pcx": encode(scene(), "PCX"),
    "zeros": bytes(4096),
}
