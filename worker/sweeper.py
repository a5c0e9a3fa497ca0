"""Takes care of accepted tasks that nobody else does: sends them again, or records their failure.

The record of what was accepted is ours, not the queue: Redis may hand a message to a worker that
dies in that instant (celery#4354), and Celery drops one whose retry it cannot publish. A task is
sent again when it has been silent for a while and copies sent after it have been taken up: the
queue is first in, first out, so its own is lost, or in the hands of a dead or frozen worker. Where
nothing shows that, the oldest silent task alone is sent again: what it meets tells about the rest.
One worker sweeps at a time, but two at once would only send twice, and a second copy is dropped
before anything is decoded.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

from pydantic import ValidationError
from redis import Redis

from shared.contract import InspectJob, Outcome
from shared.errors import BadMessage, ServiceError, TaskTimedOut
from shared.records import CLAIMED_KEY, OPEN_KEY, SENT_KEY, SWEEPER_KEY, final_meta, task_key
from shared.worklist import store_answer
from worker.rounds import Rounds

logger = logging.getLogger(__name__)

#: seconds between two sweeps, at most
_EVERY_S = 5.0
#: tasks sent again, and failures recorded, in one sweep
_AT_ONCE = 200
#: seconds by which clocks of two hosts, or two sends, may be out of order
_SLACK_S = 2.0

Send = Callable[[InspectJob], None]
#: told of each failure that the sweeper has recorded
Record = Callable[[Outcome], None]


class Sweeper(Rounds):
    def __init__(
        self, redis: Redis, send: Send, record: Record, *, resend_after_s: float, result_ttl_s: int
    ) -> None:
        super().__init__(redis, SWEEPER_KEY, every_s=min(_EVERY_S, resend_after_s / 3))
        self._redis = redis
        self._send = send
        self._record = record
        self._resend_after_s = resend_after_s
        self._result_ttl_s = result_ttl_s

    def go_round(self) -> None:
        self.sweep(now=time.time())

    def sweep(self, *, now: float) -> None:
        for task_id in self._ids(OPEN_KEY, before=now - _SLACK_S):
            self._fail(task_id, TaskTimedOut())
        for job in self._overdue(now):
            self._send_again(job, now)

    def _ids(self, key: str, *, before: float) -> list[str]:
        found: Any = self._redis.zrangebyscore(key, "-inf", before, start=0, num=_AT_ONCE)
        return [name.decode() for name in found]

    def _fail(self, task_id: str, error: ServiceError) -> None:
        outcome = Outcome.unseen(task_id, error)
        if store_answer(self._redis, task_id, final_meta(outcome), ttl_s=self._result_ttl_s):
            logger.warning("given up: %s", error.code, extra={"task_id": task_id})
            self._record(outcome)

    def _overdue(self, now: float) -> list[InspectJob]:
        silent_since = now - self._resend_after_s
        claimed: Any = self._redis.get(CLAIMED_KEY)
        overtaken = self._silent(silent_since, before=float(claimed or 0) - _SLACK_S)
        return overtaken or self._silent(silent_since, before=now)[:1]

    def _silent(self, since: float, *, before: float) -> list[InspectJob]:
        """Jobs last sent before both moments, oldest first, and not begun after `since`."""
        ids = self._ids(SENT_KEY, before=min(since, before))
        with self._redis.pipeline(transaction=False) as pipe:
            for task_id in ids:
                pipe.hmget(task_key(task_id), ["job", "started_at"])
            records = pipe.execute()
        silent = [
            (task_id, job)
            for task_id, (job, started_at) in zip(ids, records, strict=True)
            if float(started_at or 0) < since
        ]
        return list(self._jobs(silent))

    def _jobs(self, found: Iterable[tuple[str, bytes | None]]) -> Iterable[InspectJob]:
        for task_id, data in found:
            try:
                yield InspectJob.model_validate_json(data or b"")
            except ValidationError:  # of another version, or a record that is gone
                self._fail(task_id, BadMessage("The record of this task cannot be read."))

    def _send_again(self, job: InspectJob, now: float) -> None:
        self._send(job.model_copy(update={"sent_at": now}))
        # Only what is still open: it may have ended a moment ago.
        self._redis.zadd(SENT_KEY, {job.id: now}, xx=True)
        logger.warning("sent again", extra={"task_id": job.id})
