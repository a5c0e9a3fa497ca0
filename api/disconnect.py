"""Work for as long as its client is there."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import Request

T = TypeVar("T")


class ClientGone(Exception):
    """The client closed its connection before it was answered."""


async def unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled as soon as the client goes. Raises ClientGone.

    The request's body must have been read. Works in this very task, as `asyncio.timeout` does:
    another one costs each request as much as its JSON.
    """
    this = asyncio.current_task()
    assert this is not None  # noqa: S101 a coroutine always runs in one
    gone = asyncio.ensure_future(_gone(request))
    left = False

    def leave(_: asyncio.Future[None]) -> None:
        nonlocal left
        left = this.cancel()

    gone.add_done_callback(leave)
    try:
        return await work
    except asyncio.CancelledError:
        if left and this.uncancel() == 0:
            raise ClientGone from None
        raise
    finally:
        gone.remove_done_callback(leave)
        gone.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
