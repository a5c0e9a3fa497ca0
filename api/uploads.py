"""Reads uploads from the request's stream: bounded, and only after the request was admitted.

FastAPI would parse the whole body before any dependency runs, so handlers declare no `UploadFile`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import NamedTuple

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from shared.callbacks import check_callback
from shared.errors import BrokenUpload, EmptyUpload, UploadTooLarge, UploadTooSlow
from shared.settings import Settings

#: room for boundaries, part headers and small text fields
_FORM_SLACK = 64 * 2**10
_FILE_SLACK = 2**10
_MAX_TEXT_FIELDS = 16
_TEXT_FIELD_BYTES = 4096
#: a batch request is at most this many times as large as the largest upload
_BATCH_FACTOR = 16
_FILENAME_CHARS = 255


def one_limit(settings: Settings) -> int:
    """The most bytes in a request with one file."""
    return settings.upload_max_bytes + _FORM_SLACK


def batch_limit(settings: Settings) -> int:
    """The most bytes in a request with many files."""
    files = min(settings.batch_max_files, _BATCH_FACTOR)
    return files * settings.upload_max_bytes + _FORM_SLACK + settings.batch_max_files * _FILE_SLACK


class Upload(NamedTuple):
    image: bytes
    #: empty: none
    callback_url: str


class Batch(NamedTuple):
    files: list[UploadFile]
    callback_url: str


async def read_one(request: Request, settings: Settings) -> Upload:
    """What is in `file` and `callback_url`. Raises UploadError."""
    form = await _form(
        request, settings, limit=one_limit(settings), files=1, in_memory=settings.upload_max_bytes
    )
    try:
        uploads = [upload for _, upload in _files(form, ("file",))]
        return Upload(await read_file(uploads[0], settings), _callback_url(form, settings))
    finally:
        await form.close()


async def read_many(request: Request, settings: Settings) -> FormData:
    """A form with at least one file; large ones wait on disk. The caller closes it."""
    form = await _form(
        request,
        settings,
        limit=batch_limit(settings),
        files=settings.batch_max_files,
        in_memory=MultiPartParser.spool_max_size,
    )
    try:
        _files(form, ("files", "file"))
    except BrokenUpload:
        await form.close()
        raise
    return form


def batch_of(form: FormData, settings: Settings) -> Batch:
    """The files in their order. Raises UploadError."""
    files = [upload for _, upload in _files(form, ("files", "file"))]
    return Batch(files, _callback_url(form, settings))


def _callback_url(form: FormData, settings: Settings) -> str:
    """Raises BrokenUpload or what `check_callback` raises; empty where there is none."""
    urls = form.getlist("callback_url")
    if len(urls) > 1:
        raise BrokenUpload("The field `callback_url` is there more than once.")
    url = str(urls[0]) if urls else ""
    if url:
        check_callback(url, settings)
    return url


async def read_file(upload: UploadFile, settings: Settings) -> bytes:
    """Raises EmptyUpload or UploadTooLarge."""
    if not upload.size:
        raise EmptyUpload
    if upload.size > settings.upload_max_bytes:
        raise UploadTooLarge(
            f"The file has {upload.size} bytes; the limit is {settings.upload_max_bytes}."
        )
    return await upload.read()


def shown_name(upload: UploadFile) -> str:
    """The client's file name, fit to be shown: no control characters, not too long."""
    name = (upload.filename or "")[:_FILENAME_CHARS]
    return "".join(char if char.isprintable() else "\ufffd" for char in name)


def _files(form: FormData, names: tuple[str, ...]) -> list[tuple[str, UploadFile]]:
    expected = " or ".join(f"`{name}`" for name in names)
    found = [(name, value) for name, value in form.multi_items() if isinstance(value, UploadFile)]
    if not found:
        text = any(name in names for name, _ in form.multi_items())
        raise BrokenUpload(
            f"The field {expected} holds text; it must be a file."
            if text
            else f"The form has no file; put the image into the field {expected}."
        )
    for name, _ in found:
        if name not in names:
            raise BrokenUpload(f"The file is in the field {name[:40]!r}; expected {expected}.")
    return found


async def _form(
    request: Request, settings: Settings, *, limit: int, files: int, in_memory: int
) -> FormData:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise BrokenUpload(
            f"The request is {kind[:80]!r}; send the image as a file in multipart/form-data."
        )
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise _too_large(limit)
    async with aclosing(_bounded(request, limit, settings)) as stream:
        parser = _Parser(
            request.headers,
            stream,
            max_files=files,
            max_fields=_MAX_TEXT_FIELDS,
            max_part_size=_TEXT_FIELD_BYTES,
        )
        parser.spool_max_size = in_memory
        return await _parse(parser)


class _Parser(MultiPartParser):
    """Refuses a form that ends before its last boundary; Starlette drops the unfinished part."""

    _ended = False

    def on_end(self) -> None:
        self._ended = True

    async def parse(self) -> FormData:
        form = await super().parse()
        if not self._ended:
            for file in self._files_to_close_on_error:
                file.close()
            raise MultiPartException("The form ends in the middle.")
        return form


async def _parse(parser: MultiPartParser) -> FormData:
    try:
        return await parser.parse()
    except ClientDisconnect:
        raise BrokenUpload("The upload was interrupted.") from None
    except MultiPartException as error:
        raise BrokenUpload(error.message) from None
    except (ValueError, LookupError) as error:  # such as a charset that no codec accepts
        raise BrokenUpload("Invalid multipart data.") from error


async def read_small(request: Request, settings: Settings) -> bytes:
    """A body that is no file. Raises UploadTooLarge, UploadTooSlow or BrokenUpload."""
    try:
        async with aclosing(_bounded(request, _FORM_SLACK, settings)) as stream:
            return b"".join([chunk async for chunk in stream])
    except ClientDisconnect:
        raise BrokenUpload("The request was interrupted.") from None


async def _bounded(request: Request, limit: int, settings: Settings) -> AsyncGenerator[bytes, None]:
    """The body as it comes; `request.stream()` would ask twice more when it has ended."""
    received = 0
    clock = asyncio.get_running_loop().time
    began = clock()
    more = True
    while more:
        enough_by = began + received / settings.receive_min_rate
        patience = min(0, enough_by - clock()) + settings.receive_timeout_s
        try:
            async with asyncio.timeout(patience):
                message = await request.receive()
        except TimeoutError:
            raise UploadTooSlow from None
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        more = message.get("more_body", False)
        chunk = message.get("body", b"")
        received += len(chunk)
        if received > limit:
            raise _too_large(limit)
        yield chunk


def _too_large(limit: int) -> UploadTooLarge:
    return UploadTooLarge(f"The request is larger than {limit} bytes.")
