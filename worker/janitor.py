"""Removes from the history what has had its time, every minute."""

from __future__ import annotations

import time

from redis import Redis

from shared.history.retention import Retention, prune
from shared.history.store import HistoryStore
from shared.records import RETENTION_KEY
from worker.rounds import Rounds

_EVERY_S = 60.0


class Janitor(Rounds):
    def __init__(
        self, redis: Redis, store: HistoryStore, retention: Retention, *, every_s: float = _EVERY_S
    ) -> None:
        super().__init__(redis, RETENTION_KEY, every_s=every_s)
        self._store = store
        self._retention = retention

    def go_round(self) -> None:
        prune(self._store, self._retention, now=time.time())
