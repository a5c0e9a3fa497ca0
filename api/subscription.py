"""One request's wait for one result; knows nothing of Redis."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from shared.contract import Failure, Outcome

Result = Outcome | Failure

#: a SUBSCRIBE that is not confirmed by then is left to the sweep
_CONFIRM_S = 1.0


class Subscription:
    """One request's wait for one result."""

    def __init__(self, task_id: str, *, last_look: Callable[[list[str]], Awaitable[None]]) -> None:
        self.task_id = task_id
        self._last_look = last_look
        self.future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._confirmed = asyncio.Event()

    async def confirmed(self) -> None:
        """Returns when Redis will deliver the result, or when only the sweep can be hoped for."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CONFIRM_S):
                await self._confirmed.wait()

    async def result(self, seconds: float) -> Result | None:
        """The result; None when there is none after `seconds` and a last look."""
        await asyncio.wait({self.future}, timeout=seconds)
        if not self.future.done():
            await self._last_look([self.task_id])
        return self.future.result() if self.future.done() else None

    def confirm(self) -> None:
        self._confirmed.set()

    def resolve(self, result: Result) -> None:
        if not self.future.done():
            self.future.set_result(result)
