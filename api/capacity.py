"""Whether one more upload can be taken, and when its turn comes; decided from one look at Redis
that all requests of half a second share, and nobody is refused by an old one."""

from __future__ import annotations

import asyncio
import math
import time

from shared.errors import DeadlineUnreachable, Overloaded, StorageFull, Unavailable
from shared.intake import Intake, Standing

#: seconds for which a look at Redis is good; what this process accepts meanwhile is added to it
_FRESH_S = 0.5
#: the same for one that would refuse: it does not see what has ended meanwhile
_FRESH_TO_REFUSE_S = 0.01
#: an estimate that is cautious by half refuses nobody too early
_CAUTION = 2.0
#: the part of the queue that should be free before refused clients come back
_ROOM = 0.1
#: seconds that a refused client is told to wait, at least and at most
_RETRY_S = (1, 60)
#: while no worker has said how fast it is: about what one takes to start
_RETRY_UNKNOWN_S = 10


class Capacity:
    """Raises RedisError when Redis does not answer."""

    def __init__(self, intake: Intake, *, queue_limit: int) -> None:
        self._intake = intake
        self._limit = queue_limit
        self._standing: Standing | None = None
        self._looked_at = -math.inf
        self._looking: asyncio.Task[Standing] | None = None
        self._tasks = 0
        self._bytes = 0

    async def admit(self, *, size: int, deadline_s: float | None) -> None:
        """Raises Overloaded, StorageFull or DeadlineUnreachable. `size`: bytes, as far as known."""
        refusal = self._refusal(await self._look(_FRESH_S), size, deadline_s)
        if refusal:
            refusal = self._refusal(await self._look(_FRESH_TO_REFUSE_S), size, deadline_s)
        if refusal:
            raise refusal

    def _refusal(
        self, standing: Standing, size: int, deadline_s: float | None
    ) -> Unavailable | None:
        open_tasks = self._open_tasks
        if open_tasks >= self._limit:
            return Overloaded(
                retry_after_s=self._worked_off(open_tasks - self._limit * (1 - _ROOM))
            )
        if self._bytes + size > standing.memory_left:
            return StorageFull(retry_after_s=self._worked_off(open_tasks * _ROOM))
        eta_s = self.eta_s(open_tasks + 1)
        if deadline_s is not None and eta_s is not None and eta_s > deadline_s * _CAUTION:
            return DeadlineUnreachable(retry_after_s=_seconds(eta_s - deadline_s))
        return None

    def accepted(self, size: int) -> None:
        self._tasks += 1
        self._bytes += size

    @property
    def _open_tasks(self) -> int:
        return self._tasks + (self._standing.open_tasks if self._standing else 0)

    def eta_s(self, position: int | None) -> float | None:
        """Seconds until a task in this place of the queue is done; None: nobody can tell."""
        rate = sum(worker.per_s or 0 for worker in self._standing.workers) if self._standing else 0
        return position / rate if rate and position is not None else None

    def in_vain(self, wait_s: float) -> bool:
        """Whether there is no point in waiting so long for what was accepted last."""
        eta_s = self.eta_s(self._open_tasks)
        return eta_s is not None and eta_s > wait_s * _CAUTION

    def _worked_off(self, tasks: float) -> int:
        eta_s = self.eta_s(math.ceil(tasks))
        return _RETRY_UNKNOWN_S if eta_s is None else _seconds(eta_s)

    async def _look(self, good_for_s: float) -> Standing:
        good_from = time.monotonic() - good_for_s
        if self._standing is None or self._looked_at < good_from:
            if self._looking is None:
                self._looking = asyncio.create_task(self._look_now())
            return await asyncio.shield(self._looking)  # it is for all, whoever hangs up
        return self._standing

    async def _look_now(self) -> Standing:
        tasks, size = self._tasks, self._bytes
        try:
            self._standing = standing = await self._intake.standing(now=time.time())
        finally:
            self._looking = None
        self._looked_at = time.monotonic()
        self._tasks -= tasks
        self._bytes -= size
        return standing


def _seconds(seconds: float) -> int:
    least, most = _RETRY_S
    return max(least, min(most, math.ceil(seconds)))
