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

    The request's body must have been read. Works in this very task, as `asyncio.timeout` does,
    which spares each request another.
    """
    this = asyncio.current_task()
    assert this is not None  # noqa: S101 a coroutine always runs in one
    cancelled_before = this.cancelling()
    gone = asyncio.ensure_future(_gone(request))
    left = over = False

    def leave(_: asyncio.Future[None]) -> None:
        nonlocal left
        if not over:  # it may have been called for in the very turn in which the work ended
            left = this.cancel()

    gone.add_done_callback(leave)
    try:
        return await work
    except asyncio.CancelledError:
        if left and this.cancelling() == cancelled_before + 1:  # nobody else wants it to end
            raise ClientGone from None
        raise
    finally:
        over = True
        gone.cancel()
        if left:
            this.uncancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
