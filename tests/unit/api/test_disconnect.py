from __future__ import annotations

import asyncio
import contextlib

import pytest

from api.disconnect import ClientGone, unless_gone


class FakeRequest:
    def __init__(self) -> None:
        self.gone = asyncio.Event()

    async def receive(self):
        await self.gone.wait()
        return {"type": "http.disconnect"}


async def test_the_work_is_done_while_the_client_is_there():
    async def work() -> int:
        return 7

    assert await unless_gone(FakeRequest(), work()) == 7


async def test_what_the_work_raises_is_raised():
    async def work() -> None:
        raise ValueError("bad")

    with pytest.raises(ValueError, match="bad"):
        await unless_gone(FakeRequest(), work())


async def test_the_work_is_cancelled_and_over_when_the_client_goes():
    request, steps = FakeRequest(), []

    async def work() -> None:
        try:
            request.gone.set()
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            steps.append("tidied up")

    with pytest.raises(ClientGone):
        await unless_gone(request, work())
    assert steps == ["tidied up"]


async def test_who_cancels_the_request_itself_is_not_told_that_the_client_has_gone():
    request = FakeRequest()
    started = asyncio.Event()

    async def work() -> None:
        started.set()
        await asyncio.sleep(60)

    task = asyncio.create_task(unless_gone(request, work()))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_client_that_goes_when_the_work_is_done_has_its_answer():
    request = FakeRequest()

    async def work() -> int:
        request.gone.set()
        await asyncio.sleep(0)
        return 7

    assert await unless_gone(request, work()) == 7
    for _ in range(3):
        await asyncio.sleep(0)  # and nothing comes after it


async def test_work_that_ends_in_spite_of_it_leaves_no_cancellation_behind():
    request = FakeRequest()

    async def work() -> int:
        request.gone.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        return 7

    assert await unless_gone(request, work()) == 7
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
