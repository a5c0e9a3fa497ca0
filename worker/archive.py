"""The worker's side of the history: keeps and removes. Where it is off, SQL is not even loaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from redis import Redis

from shared.contract import Outcome
from shared.settings import Settings
from worker.seen import Seen

if TYPE_CHECKING:
    from worker.historian import Historian
    from worker.janitor import Janitor


class Archive:
    def __init__(self, historian: Historian, janitor: Janitor) -> None:
        self._historian = historian
        self._janitor = janitor

    def start(self) -> None:
        self._historian.start()
        self._janitor.start()

    def see(self, seen: Seen) -> None:
        self._historian.see(seen)

    def answered(self, outcome: Outcome) -> None:
        self._historian.answered(outcome)

    def close(self) -> None:
        self._janitor.close()
        self._historian.close()


def open_archive(
    settings: Settings, redis: Redis, count: Callable[[str, int], None]
) -> Archive | None:
    """None where no history is kept: it then costs nothing. `count`: see Historian."""
    if not settings.history_days:
        return None
    from shared.history.retention import Retention
    from shared.history.store import HistoryStore
    from worker.historian import Historian
    from worker.janitor import Janitor

    store = HistoryStore(settings)
    return Archive(Historian(store, count), Janitor(redis, store, Retention.of(settings)))
