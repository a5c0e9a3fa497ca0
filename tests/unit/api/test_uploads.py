from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from starlette.requests import Request

from api.uploads import batch_limit, one_limit, read_many, read_one, shown_name
from shared.errors import BrokenUpload, EmptyUpload, UploadTooLarge

TYPE = "multipart/form-data; boundary=b"


def part(name: str, data: bytes, filename: str | None = "x.jpg") -> bytes:
    file = f'; filename="{filename}"' if filename is not None else ""
    head = f'--b\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
    return head.encode() + data + b"\r\n"


def body(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--b--\r\n"


class Incoming:
    """A request that is received in chunks, counting those that were asked for."""

    def __init__(self, content: bytes, *, chunk: int = 1000, content_type: str = TYPE) -> None:
        self.chunks = [content[at : at + chunk] for at in range(0, len(content), chunk)]
        self.received = 0
        self.headers = [(b"content-type", content_type.encode("latin-1"))]

    async def receive(self) -> dict[str, object]:
        if self.received >= len(self.chunks):
            return {"type": "http.disconnect"}
        self.received += 1
        more = self.received < len(self.chunks)
        return {
            "type": "http.request",
            "body": self.chunks[self.received - 1],
            "more_body": more,
        }

    @property
    def request(self) -> Request:
        return Request({"type": "http", "method": "POST", "headers": self.headers}, self.receive)


@pytest.mark.parametrize("chunk", [1, 7, 10_000])
async def test_one_file_in_any_chunks(settings, chunk):
    content = bytes(range(256)) * 3
    incoming = Incoming(body(part("note", b"hi", None), part("file", content)), chunk=chunk)
    assert (await read_one(incoming.request, settings)).image == content


async def test_a_file_of_exactly_the_limit(settings):
    content = b"x" * settings.upload_max_bytes
    upload = await read_one(Incoming(body(part("file", content))).request, settings)
    assert upload.image == content
    with pytest.raises(UploadTooLarge):
        await read_one(Incoming(body(part("file", content + b"x"))).request, settings)


async def test_a_declared_length_is_believed_before_anything_is_read(settings):
    incoming = Incoming(b"")
    incoming.headers.append((b"content-length", str(one_limit(settings) + 1).encode()))
    with pytest.raises(UploadTooLarge):
        await read_one(incoming.request, settings)
    assert incoming.received == 0


async def test_a_stream_without_a_length_is_cut_off(settings):
    incoming = Incoming(part("file", b"x" * 10 * one_limit(settings)))
    with pytest.raises(UploadTooLarge):
        await read_one(incoming.request, settings)
    assert incoming.received <= one_limit(settings) // 1000 + 1


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (body(part("image", b"x")), "'image'"),
        (body(part("file", b"x", None)), "text"),
        (body(part("note", b"x", None)), "no file"),
        (body(), "no file"),
        (body(part("file", b"x"), part("file", b"y")), "Too many files"),
        (body(part("note", b"x" * 5000, None)), "size"),
        (body(*[part("note", b"x", None)] * 17), "Too many fields"),
        (b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n", "name"),
        (b"junk that is no form", "Invalid"),
        (b"--b\r\n" + b"\x00\xff" * 50, "Invalid"),
        (part("file", b"never closed"), "in the middle"),
        (body(part("file", b"cut"))[:-8], "in the middle"),
    ],
)
async def test_what_is_no_form_with_one_file(settings, content, says):
    with pytest.raises(BrokenUpload) as caught:
        await read_one(Incoming(content).request, settings)
    assert says in caught.value.message


@pytest.mark.parametrize(
    "content_type",
    ["", "image/jpeg", "application/json", "multipart/mixed; boundary=b", "multipart/form-data"],
)
async def test_other_content_types(settings, content_type):
    incoming = Incoming(body(part("file", b"x")), content_type=content_type)
    with pytest.raises(BrokenUpload):
        await read_one(incoming.request, settings)


@pytest.mark.parametrize(
    "charset", ["idna", "punycode", "rot13", "zip", "no-such", "utf-7", "\xe9"]
)
async def test_strange_charsets_are_at_worst_a_broken_upload(settings, charset):
    content = body(part("file\xff..", b"x", "\xfe.jpg"), part("t", b"\xff", None))
    incoming = Incoming(content, content_type=f"{TYPE}; charset={charset}")
    with pytest.raises(BrokenUpload):
        await read_one(incoming.request, settings)


async def test_an_empty_file(settings):
    with pytest.raises(EmptyUpload):
        await read_one(Incoming(body(part("file", b""))).request, settings)


async def test_an_upload_that_is_broken_off(settings):
    async def receive() -> dict[str, object]:
        return {"type": "http.disconnect"}

    headers = [(b"content-type", TYPE.encode())]
    request = Request({"type": "http", "method": "POST", "headers": headers}, receive)
    with pytest.raises(BrokenUpload, match="interrupted"):
        await read_one(request, settings)


async def test_many_files_under_either_name(settings):
    content = body(part("files", b"1"), part("file", b"2"), part("note", b"x", None))
    form = await read_many(Incoming(content).request, settings)
    assert [name for name, _ in form.multi_items()] == ["files", "file", "note"]
    await form.close()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (body(*[part("files", b"x")] * 5), "Too many files"),
        (body(part("images", b"x")), "'images'"),
        (body(), "no file"),
    ],
)
async def test_what_is_no_batch(settings, content, says):
    with pytest.raises(BrokenUpload, match=says):
        await read_many(Incoming(content).request, settings)


async def test_a_batch_is_bounded_as_a_whole(settings):
    incoming = Incoming(part("files", b"x" * 2 * batch_limit(settings)), chunk=10_000)
    with pytest.raises(UploadTooLarge):
        await read_many(incoming.request, settings)
    assert incoming.received <= batch_limit(settings) // 10_000 + 1


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("front door.jpg", "front door.jpg"),
        ("türe.jpg", "türe.jpg"),
        ("a\x1b[2J\x00b", "a\ufffd[2J\ufffdb"),
        ("x" * 999, "x" * 255),
        ("\u202egpj.exe", "\ufffdgpj.exe"),
    ],
)
async def test_names_are_shown_without_control_characters(settings, name, shown):
    form = await read_many(Incoming(body(part("files", b"1", name))).request, settings)
    ((_, upload),) = form.multi_items()
    assert shown_name(upload) == shown
    await form.close()


async def test_chunked_uploads_over_http(client, settings):
    async def chunks() -> AsyncIterator[bytes]:
        yield part("file", b"x" * one_limit(settings))
        pytest.fail("read on")

    headers = {"Content-Type": TYPE}
    response = await client.post("/upload_image", content=chunks(), headers=headers)
    assert (response.status_code, response.json()["code"]) == (413, "upload_too_large")


@pytest.mark.parametrize("url", ["/upload_image", "/upload_images"])
@pytest.mark.parametrize("content", [b"", b"junk", b"--b\r\n\r\n", b"--b--", b"--b" * 500])
async def test_junk_over_http_is_a_broken_upload(client, url, content):
    response = await client.post(url, content=content, headers={"Content-Type": TYPE})
    assert (response.status_code, response.json()["code"]) == (400, "broken_upload")
