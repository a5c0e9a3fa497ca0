"""The client for asyncio; one event loop each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from itertools import islice
from typing import Self

import httpx

from scratch import protocol
from scratch.answers import Feedback, Inspection, Said
from scratch.errors import ScratchError
from scratch.protocol import Pause, Photo, T, Talk


class AsyncClient:
    """As `Client`, awaited."""

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        api_key: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._http = httpx.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=protocol.TIMEOUT_S,
            transport=transport,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._http.aclose()

    async def predict(
        self, photo: Photo, *, explain: bool = False, timeout: float | None = None
    ) -> Inspection:
        """Sends one photo and waits for its answer. Raises TimedOut after `timeout` seconds."""
        return await self._hold(protocol.predict(photo, explain=explain, timeout=timeout))

    async def predict_many(
        self, photos: Iterable[Photo], *, explain: bool = False, at_once: int = 8
    ) -> AsyncIterator[tuple[Photo, Inspection | ScratchError | OSError]]:
        """Each photo with its answer or its error, in the order in which they end."""
        queue = iter(photos)
        open_: dict[asyncio.Task[Inspection], Photo] = {}

        def start(count: int) -> None:
            for photo in islice(queue, count):
                open_[asyncio.create_task(self.predict(photo, explain=explain))] = photo

        start(at_once)
        try:
            while open_:
                done, _ = await asyncio.wait(open_, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    yield open_.pop(task), _answer_of(task)
                start(len(done))
        finally:
            for task in open_:
                task.cancel()

    async def submit(
        self, photo: Photo, *, explain: bool = False, callback_url: str | None = None
    ) -> str:
        """Sends one photo; the task's id, for `wait` or for what `callback_url` will be told."""
        talk = protocol.submit(photo, explain=explain, callback_url=callback_url)
        return await self._hold(talk)

    async def wait(self, task_id: str, *, timeout: float | None = None) -> Inspection:
        """The answer of a task. Raises TimedOut after `timeout` seconds."""
        return await self._hold(protocol.wait(task_id, timeout=timeout))

    async def heatmap(self, task_id: str) -> bytes:
        """PNG, of a photo that was sent with `explain=True`: to be stretched over it."""
        return await self._hold(protocol.heatmap(task_id))

    async def feedback(self, task_id: str, said: Said, *, note: str | None = None) -> Feedback:
        """Says what a task's photo shows, or whether its answer was right; the last word counts."""
        return await self._hold(protocol.feedback(task_id, said, note=note))

    async def _hold(self, talk: Talk[T]) -> T:
        try:
            step = next(talk)
            while True:
                if isinstance(step, Pause):
                    await asyncio.sleep(step.seconds)
                    step = next(talk)
                    continue
                try:
                    reply = await self._http.request(step.method, step.path, **step.arguments())
                except httpx.TransportError as error:
                    step = talk.throw(error)
                else:
                    step = talk.send(reply)
        except StopIteration as end:
            answer: T = end.value
            return answer


def _answer_of(task: asyncio.Task[Inspection]) -> Inspection | ScratchError | OSError:
    try:
        return task.result()
    except (ScratchError, OSError) as error:
        return error
