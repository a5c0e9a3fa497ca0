"""uvicorn on a real socket, against clients that are slow, endless or too many."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest
import uvicorn

from api.server import uvicorn_options

#: seconds until the server gives up in these tests; a client that is given up waits far longer
TIMEOUT_S = 0.5
PATIENCE_S = 20
POST = (
    b"POST /upload_image HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
)
PART = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, *pieces: bytes, pause_s: float = 0) -> float:
        """The seconds that the slowest piece took with its pause."""
        clock, slowest = asyncio.get_running_loop().time, 0.0
        with suppress(ConnectionError):
            for piece in pieces:
                began = clock()
                self.writer.write(piece)
                await self.writer.drain()
                await asyncio.sleep(pause_s)
                slowest = max(slowest, clock() - began)
        return slowest

    async def rest(self) -> bytes:
        """What comes until the server closes."""
        received = b""
        with suppress(ConnectionError):
            async with asyncio.timeout(PATIENCE_S):
                while data := await self.reader.read(65536):
                    received += data
        return received

    async def head(self) -> bytes:
        async with asyncio.timeout(PATIENCE_S):
            return await self.reader.readuntil(b"\r\n\r\n")


@pytest.fixture
async def connect(app, settings, request) -> AsyncIterator[Callable[[], object]]:
    limits = {
        "receive_timeout_s": getattr(request, "param", TIMEOUT_S),
        "receive_min_rate": 1000,
        "max_connections": 3,
    }
    app.state.settings = settings.model_copy(update=limits)
    options = {**uvicorn_options(app.state.settings), "port": 0, "timeout_keep_alive": 60}
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", **options))
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]

    @asynccontextmanager
    async def connect() -> AsyncIterator[Client]:
        client = Client(*await asyncio.open_connection("127.0.0.1", port))
        try:
            yield client
        finally:
            client.writer.close()
            with suppress(ConnectionError):
                await client.writer.wait_closed()

    yield connect
    server.should_exit = True
    await task


async def test_one_who_says_nothing_is_let_go(connect):
    async with connect() as client:
        assert await client.rest() == b""


async def test_one_who_never_ends_his_head_is_let_go(connect):
    async with connect() as client:
        sending = asyncio.create_task(client.send(POST, *[b"X-a: b\r\n"] * 500, pause_s=0.05))
        assert await client.rest() == b""
        sending.cancel()


async def test_also_when_he_was_answered_before(connect):
    async with connect() as client:
        await client.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b" 200 " in await client.head()
        await client.send(b"\r\nGET /heal")
        assert (await client.rest()).endswith(b"}")


@pytest.mark.parametrize("connect", [30.0], indirect=True)
async def test_a_head_of_any_size_is_not_taken(connect):
    async with connect() as client:
        await client.send(POST, b"X-a: ", b"a" * 2**16, pause_s=0.1)
        await client.send(b"a")
        assert b" 431 " in await client.rest()


async def test_an_upload_that_stops_is_given_up(connect):
    async with connect() as client:
        await client.send(POST, b"Content-Length: 9000\r\n\r\n", PART, b"x" * 50)
        assert b" 408 " in await client.head()


async def test_an_upload_that_trickles_is_given_up(connect):
    async with connect() as client:
        head = POST + b"Transfer-Encoding: chunked\r\n\r\n"
        chunks = [b"%x\r\n%s\r\n" % (len(PART), PART), *[b"1\r\nx\r\n"] * 2000]
        sending = asyncio.create_task(client.send(head, *chunks, pause_s=0.02))
        assert b" 408 " in await client.head()
        sending.cancel()


async def test_a_body_that_was_refused_is_not_taken_for_ever(connect):
    async with connect() as client:
        await client.send(POST, b"Content-Length: 999999999\r\n\r\n")
        assert b" 413 " in await client.head()
        sending = asyncio.create_task(client.send(*[b"x"] * 3000, pause_s=0.02))
        assert b"upload_too_large" in await client.rest()
        sending.cancel()


@pytest.mark.parametrize("connect", [2.0], indirect=True)
async def test_one_who_is_slow_and_steady_is_answered(connect):
    body = PART + b"no image" * 2000 + b"\r\n--b--\r\n"
    pieces = [body[at : at + 500] for at in range(0, len(body), 500)]
    for _ in range(10):
        async with connect() as client:
            await client.send(POST, b"Content-Length: %d\r\n\r\n" % len(body))
            slowest = await client.send(*pieces, pause_s=0.1)
            if slowest < 1:  # else this machine held him up, too
                assert b" 415 " in await client.head()
                return
    pytest.fail("nobody is steady here")


@pytest.mark.parametrize("connect", [30.0], indirect=True)
async def test_too_many_at_once_are_told_so_but_the_process_lives(connect):
    async with connect(), connect(), connect(), connect() as last:
        await last.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b" 200 " in await last.head()
        await last.reader.readuntil(b"}")
        await last.send(b"GET /tasks/1 HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = (await last.rest()).lower()
        assert b" 503 " in answer and b"retry-after: " in answer
        assert b"application/problem+json" in answer
    for _ in range(200):  # until the server has seen them go
        async with connect() as later:
            await later.send(b"GET /tasks/1 HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = await later.head()
        if b" 404 " in answer:
            return
        await asyncio.sleep(0.05)
    pytest.fail("still too many")
