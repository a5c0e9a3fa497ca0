"""The client for ordinary code; safe to share between threads."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import Self

import httpx

from scratch import protocol
from scratch.answers import Feedback, Inspection, Said
from scratch.errors import ScratchError
from scratch.protocol import Pause, Photo, T, Talk


class Client:
    """`transport` is httpx's, for tests and proxies. All methods raise ScratchError, and OSError
    for a photo that cannot be read."""

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        api_key: str | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._http = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=protocol.TIMEOUT_S,
            transport=transport,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def predict(
        self, photo: Photo, *, explain: bool = False, timeout: float | None = None
    ) -> Inspection:
        """Sends one photo and waits for its answer. Raises TimedOut after `timeout` seconds."""
        return self._hold(protocol.predict(photo, explain=explain, timeout=timeout))

    def predict_many(
        self, photos: Iterable[Photo], *, explain: bool = False, at_once: int = 8
    ) -> Iterator[tuple[Photo, Inspection | ScratchError | OSError]]:
        """Each photo with its answer or its error, in the order in which they end."""
        queue = iter(photos)
        with ThreadPoolExecutor(at_once) as pool:

            def start(count: int) -> dict[Future[Inspection], Photo]:
                taken = islice(queue, count)
                return {pool.submit(self.predict, photo, explain=explain): photo for photo in taken}

            open_ = start(at_once)
            while open_:
                done, _ = wait(open_, return_when=FIRST_COMPLETED)
                for future in done:
                    yield open_.pop(future), _answer_of(future)
                open_ |= start(len(done))

    def submit(
        self, photo: Photo, *, explain: bool = False, callback_url: str | None = None
    ) -> str:
        """Sends one photo; the task's id, for `wait` or for what `callback_url` will be told."""
        talk = protocol.submit(photo, explain=explain, callback_url=callback_url)
        return self._hold(talk)

    def wait(self, task_id: str, *, timeout: float | None = None) -> Inspection:
        """The answer of a task. Raises TimedOut after `timeout` seconds."""
        return self._hold(protocol.wait(task_id, timeout=timeout))

    def heatmap(self, task_id: str) -> bytes:
        """PNG, of a photo that was sent with `explain=True`: to be stretched over it."""
        return self._hold(protocol.heatmap(task_id))

    def feedback(self, task_id: str, said: Said, *, note: str | None = None) -> Feedback:
        """Says what a task's photo shows, or whether its answer was right; the last word counts."""
        return self._hold(protocol.feedback(task_id, said, note=note))

    def _hold(self, talk: Talk[T]) -> T:
        try:
            step = next(talk)
            while True:
                if isinstance(step, Pause):
                    time.sleep(step.seconds)
                    step = next(talk)
                    continue
                try:
                    reply = self._http.request(step.method, step.path, **step.arguments())
                except httpx.TransportError as error:
                    step = talk.throw(error)
                else:
                    step = talk.send(reply)
        except StopIteration as end:
            answer: T = end.value
            return answer


def _answer_of(future: Future[Inspection]) -> Inspection | ScratchError | OSError:
    try:
        return future.result()
    except (ScratchError, OSError) as error:
        return error
