"""What goes, and when: by age and by room; what people have labelled has a time of its own."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, func, or_, select

from shared.history.schema import images
from shared.history.store import Answered, HistoryStore, labelled
from shared.settings import Settings

_DAY_S = 24 * 3600
#: images that go in one step
_AT_ONCE = 500


@dataclass(frozen=True)
class Retention:
    """See the settings of these names."""

    history_days: float
    labelled_days: float | None
    history_max_bytes: int

    @classmethod
    def of(cls, settings: Settings) -> Retention:
        return cls(settings.history_days, settings.labelled_days, settings.history_max_bytes)

    def expired(self, now: float) -> ColumnElement[bool]:
        """Of a row of `images`: whether its time is over. What is said counts for all copies."""
        gone = and_(images.c.at < now - self.history_days * _DAY_S, ~labelled())
        if self.labelled_days is None:
            return gone
        return or_(gone, images.c.at < now - self.labelled_days * _DAY_S)


def prune(store: HistoryStore, retention: Retention, *, now: float) -> int:
    """Removes rows with their files; how many. Raises HistoryUnavailable."""
    removed = 0
    while found := _first(store, retention.expired(now), _AT_ONCE):
        store.remove(found)
        removed += len(found)
    while (excess := _bytes(store) - retention.history_max_bytes) > 0:
        oldest = _first(store, ~labelled(), _AT_ONCE)
        if not oldest:
            break  # what people have labelled is not ours to drop
        going = []
        for answer in oldest:
            if excess <= 0:
                break
            going.append(answer)
            excess -= answer.size
        store.remove(going)
        removed += len(going)
    return removed


def _first(store: HistoryStore, which: ColumnElement[bool], count: int) -> list[Answered]:
    wanted = select(images).where(which).order_by(images.c.at).limit(count)
    with store.database.begin() as connection:
        return [Answered.of_row(row) for row in connection.execute(wanted)]


def _bytes(store: HistoryStore) -> int:
    total = select(func.coalesce(func.sum(images.c.size), 0))
    with store.database.begin() as connection:
        return int(connection.execute(total).scalar_one())
