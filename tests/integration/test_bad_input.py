"""Whatever is uploaded: a right answer or a 4xx with a stable code, and the worker lives on."""

from __future__ import annotations

import io
import struct
import zlib

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.integration.service import Service, wait_until
from tests.photos import encoded, gradient, jpeg


def png_claiming(width: int, height: int) -> bytes:
    """Sound chunks, but for the size, and hardly a pixel."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes(30)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


def sixteen_bit() -> bytes:
    ramp = np.linspace(0, 65535, 96 * 64).astype(np.uint16).reshape(64, 96)
    return encoded(Image.fromarray(ramp), "PNG")


def animated() -> bytes:
    buffer = io.BytesIO()
    frames = [gradient(seed=n) for n in range(3)]
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(gradient(), "JPEG", exif=exif)


READ = {
    "16-bit": sixteen_bit(),
    "cmyk": encoded(gradient("CMYK"), "JPEG"),
    "palette": encoded(gradient("P"), "PNG"),
    "alpha": encoded(gradient("RGBA"), "PNG"),
    "grey": encoded(gradient("L"), "JPEG"),
    "one bit": encoded(gradient("1"), "PNG"),
    "exif-rotated": rotated(),
    "animated": animated(),
    "webp": encoded(gradient(), "WEBP"),
    "avif": encoded(gradient(), "AVIF"),
    "bmp": encoded(gradient(), "BMP"),
    "tiff": encoded(gradient(), "TIFF"),
    "one pixel": encoded(gradient(size=(1, 1)), "PNG"),
    "one line": encoded(gradient(size=(3000, 1)), "PNG"),
}

REFUSED = {
    "empty": (b"", 400, "empty_upload"),
    "text": (b"I am a photo, honestly.\n" * 50, 415, "unsupported_image"),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', 415, "unsupported_image"),
    "eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", 415, "unsupported_image"),
    "pdf": (b"%PDF-1.7\n", 415, "unsupported_image"),
    "truncated": (jpeg()[:-300], 422, "corrupt_image"),
    "half a png": (encoded(gradient(), "PNG")[:2000], 422, "corrupt_image"),
    "zero-sized": (png_claiming(0, 10), 422, "corrupt_image"),
    "absurd": (png_claiming(60_000, 60_000), 422, "image_too_large"),
    "long": (png_claiming(30_000, 10), 422, "image_too_large"),
    "float": (encoded(gradient("F"), "TIFF"), 422, "unsupported_pixels"),
}


@pytest.mark.parametrize("kind", READ)
def test_an_odd_but_sound_image_is_answered(service: Service, kind: str) -> None:
    response = service.upload(READ[kind])

    assert response.status_code == 200, response.text


@pytest.mark.parametrize("kind", REFUSED)
def test_a_bad_image_is_refused_with_a_stable_code(service: Service, kind: str) -> None:
    data, status, code = REFUSED[kind]

    response = service.upload(data)

    assert (response.status_code, response.json()["code"]) == (status, code), response.text
    assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("magic", [jpeg()[:4], b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0",
                                   b"RIFF\xff\0\0\0WEBPVP8 ", b"\0\0\0\x20ftypavif"])  # fmt: skip
def test_junk_behind_a_true_signature_is_a_client_error(service: Service, magic: bytes) -> None:
    junk = np.random.default_rng(0).bytes(3000)

    response = service.upload(magic + junk)

    assert 400 <= response.status_code < 500, response.text


def test_an_oversized_upload_is_refused_with_and_without_a_length(service: Service) -> None:
    big = b"\xff\xd8\xff" + bytes(33 * 2**20)

    response = service.upload(big)

    assert (response.status_code, response.json()["code"]) == (413, "upload_too_large")

    def chunks():  # type: ignore[no-untyped-def]
        yield (b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n')
        for _ in range(34):
            yield bytes(2**20)
        yield b"\r\n--x--\r\n"

    streamed = service.http.post(
        "/upload_image",
        content=chunks(),
        headers={"content-type": "multipart/form-data; boundary=x"},
    )
    assert (streamed.status_code, streamed.json()["code"]) == (413, "upload_too_large")


@pytest.mark.parametrize(
    "request_",
    [
        {"content": b""},
        {"content": b"junk", "headers": {"content-type": "multipart/form-data; boundary=x"}},
        {"content": jpeg(), "headers": {"content-type": "image/jpeg"}},
        {"files": {"image": ("a.jpg", jpeg())}},
        {"data": {"file": "text"}},
        {"json": {"file": "x"}},
    ],
)
def test_a_request_without_a_file_is_a_400(service: Service, request_: dict[str, object]) -> None:
    response = service.http.post("/upload_image", **request_)  # type: ignore[arg-type]

    assert (response.status_code, response.json()["code"]) == (400, "broken_upload"), response.text


def test_the_worker_has_survived_all_of_this(service: Service) -> None:
    """Runs last in this file."""
    wait_until(service.is_ready)  # where it was busy, its heartbeat may be late
    assert service.upload(jpeg()).status_code == httpx.codes.OK
    assert service.log("worker").count("celery@") < 6, "the worker was restarted"
