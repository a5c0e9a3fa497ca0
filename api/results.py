"""Hears results: one pub/sub connection for all waiting requests, and a sweep for what it missed.

A task that was accepted here names our own channel, `ear`, on which its answer then comes; to wait
for another one costs a subscription.
Only the listener's own tasks touch the connection, so a cancelled request cannot break it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Self

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from api.subscription import Result, Subscription
from shared.records import RESULT_PREFIX, read_result, result_key, result_of

logger = logging.getLogger(__name__)

#: redis-py reconnects silently and loses what was published meanwhile; the sweep finds it
SWEEP_S = 1.5
#: idle seconds until a PING, and until silence means a dead connection
_PING_S = 10.0
_DEAD_S = 25.0
_BACKOFF_S = 0.5


class ResultWaiter:
    """Use as an async context manager; works on, without results, while Redis is away."""

    def __init__(self, redis: Redis, *, sweep_s: float = SWEEP_S) -> None:
        self._redis = redis
        self._sweep_s = sweep_s
        #: on which answers of tasks come that name it
        self.ear = f"scratch:api:{uuid.uuid4().hex}"
        self._waits: defaultdict[str, set[Subscription]] = defaultdict(set)
        #: of these, the tasks whose own channels are wanted
        self._channels: set[str] = set()
        #: channels that Redis has confirmed in this session
        self._live: set[str] = set()
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [
            asyncio.create_task(self._listen(), name="results-listen"),
            asyncio.create_task(self._sweep_forever(), name="results-sweep"),
        ]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await _ended(self._tasks, every_s=0.1)

    @property
    def waiting(self) -> int:
        """Requests that wait for a result now."""
        return sum(len(waits) for waits in self._waits.values())

    @contextmanager
    def heard(self, task_id: str) -> Iterator[Subscription]:
        """Waits for a task that is accepted meanwhile and names `ear`."""
        subscription = Subscription(task_id, last_look=self.sweep)
        self._waits[task_id].add(subscription)
        try:
            yield subscription
        finally:
            self._leave(subscription)

    @contextmanager
    def subscribed(self, task_id: str) -> Iterator[Subscription]:
        """Starts to subscribe at once; await `confirmed()` before looking for an answer."""
        with self.heard(task_id) as subscription:
            self._channels.add(task_id)
            self._changed.set()
            if result_key(task_id) in self._live:
                subscription.confirm()
            yield subscription

    def _leave(self, subscription: Subscription) -> None:
        task_id = subscription.task_id
        waits = self._waits[task_id]
        waits.discard(subscription)
        if waits:
            return
        del self._waits[task_id]
        if task_id in self._channels:
            self._channels.discard(task_id)
            self._changed.set()

    # --- what was published

    async def _listen(self) -> None:
        while True:
            try:
                await self._session()
            except (RedisError, OSError) as error:
                logger.warning("result channel lost: %r", error)
            except Exception:
                logger.exception("result channel failed")
            await asyncio.sleep(_BACKOFF_S)

    async def _session(self) -> None:
        """One connection, from its opening to its first trouble, which it raises."""
        pubsub = self._redis.pubsub()
        tasks: list[asyncio.Task[None]] = []
        try:
            await pubsub.subscribe(self.ear)
            self._changed.set()
            tasks = [
                asyncio.create_task(self._read(pubsub)),
                asyncio.create_task(self._write(pubsub)),
            ]
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            done.pop().result()
        finally:
            self._live.clear()
            await _ended(tasks, every_s=0.01)
            await pubsub.aclose()  # type: ignore[no-untyped-call]

    async def _write(self, pubsub: PubSub) -> None:
        """Keeps what is subscribed equal to what is waited for; the only writer of a session."""
        sent: set[str] = set()
        while True:
            try:
                async with asyncio.timeout(_PING_S):
                    await self._changed.wait()
            except TimeoutError:
                await pubsub.ping()
            self._changed.clear()
            wanted = {result_key(task_id) for task_id in self._channels}
            left = sent - wanted
            new = wanted - sent
            sent = wanted
            self._live -= left
            if left:
                await pubsub.unsubscribe(*left)
            if new:
                await pubsub.subscribe(*new)

    async def _read(self, pubsub: PubSub) -> None:
        while True:
            message = await pubsub.get_message(timeout=_DEAD_S)
            if message is None:
                raise RedisConnectionError("silent")
            self._hear(message)

    def _hear(self, message: dict[str, Any]) -> None:
        channel = _text(message["channel"])
        if channel == self.ear:
            if message["type"] == "message":
                self._hear_answer(message["data"])
            return
        if not channel.startswith(RESULT_PREFIX):
            return
        task_id = channel.removeprefix(RESULT_PREFIX)
        match message["type"]:
            case "message":
                self._settle(task_id, partial(read_result, message["data"]))
            case "subscribe":
                self._confirm(task_id, channel)

    def _hear_answer(self, meta: bytes) -> None:
        """Nothing of what no worker of ours wrote."""
        try:
            fields = dict(json.loads(meta))
            task_id = str(fields["task_id"])
        except (ValueError, TypeError, LookupError):
            return
        self._settle(task_id, partial(result_of, fields))

    def _confirm(self, task_id: str, channel: str) -> None:
        if task_id in self._waits:
            self._live.add(channel)
        for subscription in self._waits.get(task_id, ()):
            subscription.confirm()

    # --- what is stored

    async def _sweep_forever(self) -> None:
        while True:
            await asyncio.sleep(self._sweep_s)
            await self.sweep(list(self._waits))

    async def sweep(self, task_ids: list[str]) -> None:
        """One MGET over results that may be stored already. A Redis that is away: later."""
        if not task_ids:
            return
        try:
            metas = await self._redis.mget([result_key(task_id) for task_id in task_ids])
        except (RedisError, OSError) as error:
            logger.warning("results not swept: %s", type(error).__name__)
            return
        for task_id, meta in zip(task_ids, metas, strict=True):
            self._settle(task_id, partial(read_result, meta))

    def _settle(self, task_id: str, read: Callable[[], Result | None]) -> None:
        waits = self._waits.get(task_id)
        if not waits:
            return
        try:
            result = read()
        except Exception:  # what others wrote to Redis must not end the listener
            logger.warning("unreadable result of task %s", task_id)
            return
        if result is not None:
            for subscription in waits:
                subscription.resolve(result)


def _text(channel: bytes | str | None) -> str:
    return channel.decode() if isinstance(channel, bytes) else channel or ""


async def _ended(tasks: Iterable[asyncio.Task[None]], *, every_s: float) -> None:
    """Cancels as often as it takes: until Python 3.12, `wait_for` in redis-py may swallow one."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        done, pending = await asyncio.wait(pending, timeout=every_s)
        await asyncio.gather(*done, return_exceptions=True)
