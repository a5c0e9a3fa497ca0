"""A TCP proxy on loopback that can cut connections or swallow what they carry."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

Mode = Literal["pass", "cut", "black hole"]

_PORTION = 64 * 2**10


class Proxy:
    """`pass` forwards; `cut` closes what is open and refuses what comes; `black hole` accepts and
    reads, and nothing ever comes out at the other end."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._mode: Mode = "pass"
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self.port = 0

    def set(self, mode: Mode) -> None:
        self._mode = mode
        if mode != "black hole":  # and what was swallowed stays lost: its connections end
            self._loop.call_soon_threadsafe(self._close_all)

    def _close_all(self) -> None:
        for writer in self._open:
            writer.transport.abort()
        self._open.clear()

    async def _serve(self, ready: threading.Event) -> None:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        async with server:
            await server.serve_forever()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._mode == "cut":
            writer.transport.abort()
            return
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, back}
        await asyncio.gather(self._pump(reader, back), self._pump(there, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while portion := await reader.read(_PORTION):
                if self._mode == "black hole":
                    continue
                writer.write(portion)
                await writer.drain()
        writer.transport.abort()
        self._open.discard(writer)


@contextmanager
def proxied(target_port: int) -> Iterator[Proxy]:
    proxy, ready = Proxy(target_port), threading.Event()

    def run() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            proxy._loop.run_until_complete(proxy._serve(ready))
        proxy._close_all()
        proxy._loop.run_until_complete(asyncio.sleep(0.1))  # sockets close in the next rounds
        proxy._loop.close()

    thread = threading.Thread(target=run, name="proxy", daemon=True)
    thread.start()
    ready.wait(10)
    try:
        yield proxy
    finally:
        proxy._loop.call_soon_threadsafe(
            lambda: [task.cancel() for task in asyncio.all_tasks(proxy._loop)]
        )
        thread.join(10)
