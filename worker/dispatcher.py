"""Which callbacks are tried now, which later and which no more."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from redis.exceptions import RedisError

from shared.callbacks import parsed
from shared.errors import CallbackRefused
from shared.outbox import Notice, Outbox
from worker.courier import Receipt

logger = logging.getLogger(__name__)

#: attempts at once: of all receivers, and of one, which may be a small server
_AT_ONCE, _AT_ONE = 64, 6
#: callbacks to one receiver that are taken up at a time, and those that are looked at. When there
#: are more than these, what is too much for one receiver is put off, so that one that is dead does
#: not stand before all others
_HELD, _PAGE = 200, 1000
#: seconds, from and to
_LATER_S = (5.0, 15.0)
_LONGEST_RETRY_S = 3600.0

#: hears `sent`, `failed` or `given_up`
Attempted = Callable[[str], None]


class Post(Protocol):
    async def post(self, url: str, event_id: str, body: str) -> Receipt: ...


class Dispatcher:
    """Belongs to one event loop."""

    def __init__(
        self,
        outbox: Outbox,
        courier: Post,
        *,
        retry_s: float,
        give_up_s: float,
        attempted: Attempted,
    ) -> None:
        self._outbox = outbox
        self._courier = courier
        self._retry_s = retry_s
        self._give_up_s = give_up_s
        self._attempted = attempted
        #: while another worker sends, what is held here is left to it
        self.leads = True
        self._held: dict[str, asyncio.Task[None]] = {}
        self._held_of: Counter[str] = Counter()
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._slots_of: dict[str, asyncio.Semaphore] = {}

    async def round(self) -> None:
        """Takes up what is due. Raises RedisError."""
        await self._outbox.collect()
        due = await self._outbox.due(at_most=_PAGE)
        later: dict[str, float] = {}
        for notice in await self._outbox.notices([i for i in due if i not in self._held]):
            receiver = _receiver(notice.url)
            if self._held_of[receiver] < _HELD:
                self._hold(notice, receiver)
            elif len(due) == _PAGE:
                later[notice.task_id] = time.time() + random.uniform(*_LATER_S)  # noqa: S311
        await self._outbox.postpone(later)

    async def end(self, patience_s: float) -> None:
        """Lets attempts under way end, then cancels them: the next sender makes them again."""
        self.leads = False
        attempts = list(self._held.values())
        if attempts:
            _, pending = await asyncio.wait(attempts, timeout=patience_s)
            for attempt in pending:
                attempt.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    def _hold(self, notice: Notice, receiver: str) -> None:
        self._held_of[receiver] += 1
        self._slots_of.setdefault(receiver, asyncio.Semaphore(_AT_ONE))
        self._held[notice.task_id] = asyncio.create_task(self._deliver(notice, receiver))

    async def _deliver(self, notice: Notice, receiver: str) -> None:
        try:
            async with self._slots_of[receiver], self._slots:
                if not self.leads:
                    return
                receipt = await self._courier.post(notice.url, notice.task_id, notice.body)
            await self._settle(notice, receiver, receipt)
        except (RedisError, OSError) as error:  # it is due as before, and so is sent again
            logger.warning("callback not noted: %s", type(error).__name__)
        finally:
            del self._held[notice.task_id]
            self._held_of[receiver] -= 1
            if not self._held_of[receiver]:
                del self._held_of[receiver], self._slots_of[receiver]

    async def _settle(self, notice: Notice, receiver: str, receipt: Receipt) -> None:
        if receipt.taken:
            await self._outbox.close(notice.task_id)
            self._attempted("sent")
            return
        self._attempted("failed")
        who = {"task_id": notice.task_id, "receiver": receiver}
        asked_s = min(receipt.retry_after_s, _LONGEST_RETRY_S)
        at = time.time() + max(self._pause_s(notice.attempts), asked_s)
        if receipt.final or at > notice.ended_at + self._give_up_s:
            await self._outbox.close(notice.task_id)
            self._attempted("given_up")
            logger.warning("callback given up: %s", receipt.why, extra=who)
        else:
            await self._outbox.retry(notice.task_id, at=at)
            logger.info("callback not taken: %s", receipt.why, extra=who)

    def _pause_s(self, attempts: int) -> float:
        """Doubles, with jitter: many callbacks must not come back together."""
        longest = min(self._retry_s * 2 ** min(attempts, 32), _LONGEST_RETRY_S)
        return random.uniform(longest / 2, longest)  # noqa: S311


def _receiver(url: str) -> str:
    """Host and port: all that a log line says of a URL."""
    try:
        return parsed(url).netloc.decode()
    except CallbackRefused:  # of other settings, or written by others; the courier says so
        return "?"
