"""What goes by age and by room, and what stays because people have labelled it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shared.history.retention import Retention, prune
from shared.history.store import HistoryStore
from shared.settings import Settings
from tests.fakes_history import NOW, answered, keep, say

DAY_S = 86400
OLD, NEW = answered(1, at=NOW - 31 * DAY_S), answered(2, at=NOW - 29 * DAY_S)


def pruned(store: HistoryStore, **changes: Any) -> int:
    kept: dict[str, Any] = {
        "history_days": 30, "labelled_days": None, "history_max_bytes": 10**9
    }  # fmt: skip
    return prune(store, Retention(**kept | changes), now=NOW)


def there(store: HistoryStore, settings: Settings) -> list[int]:
    """Numbers of what is kept, as files and as rows."""
    folder: Path = settings.data_dir / "history"
    files = sorted(int(path.name, 16) for path in folder.rglob("*") if path.is_file())
    assert [number for number in range(12) if store.find(f"{number:032x}")] == files
    return files


def test_what_is_too_old_goes(store: HistoryStore, settings: Settings) -> None:
    keep(store, OLD, NEW)

    assert pruned(store) == 1
    assert there(store, settings) == [2]
    assert pruned(store) == 0


def test_what_is_labelled_stays(store: HistoryStore, settings: Settings) -> None:
    copy, other = answered(3, at=OLD.at, sha256=OLD.sha256), answered(4, at=OLD.at)
    keep(store, OLD, copy, other)
    say(store, OLD, "scratches")
    say(store, other, "scratches")
    say(store, other, None)

    assert pruned(store) == 1
    assert there(store, settings) == [1, 3]


def test_or_for_a_time_of_its_own(store: HistoryStore, settings: Settings) -> None:
    keep(store, OLD, NEW)
    for answer in (OLD, NEW):
        say(store, answer, "scratches")

    assert pruned(store, labelled_days=30) == 1
    assert there(store, settings) == [2]
    assert store.words(OLD.task_id), "the word stays"


def test_off_keeps_labelled_images_alone(store: HistoryStore, settings: Settings) -> None:
    keep(store, NEW, answered(3, at=NOW))
    say(store, NEW, "scratches")

    pruned(store, history_days=-1)
    assert there(store, settings) == [2]


def test_the_oldest_unlabelled_go_when_there_is_no_room(
    store: HistoryStore, settings: Settings
) -> None:
    keep(store, *(answered(number, at=NOW - number, size=10) for number in range(10)))
    say(store, answered(9), "scratches")

    assert pruned(store, history_max_bytes=35) == 7
    assert there(store, settings) == [0, 1, 9]
    assert pruned(store, history_max_bytes=0) == 2
    assert there(store, settings) == [9]


def test_a_file_that_is_gone_does_not_stop_it(store: HistoryStore, settings: Settings) -> None:
    keep(store, OLD)
    found = store.find(OLD.task_id)
    assert found
    (settings.data_dir / "history" / found.file_key).unlink()

    assert pruned(store) == 1
    assert store.find(OLD.task_id) is None


@pytest.mark.parametrize("days", ["", "400"])
def test_labelled_days_may_be_empty(monkeypatch: pytest.MonkeyPatch, days: str) -> None:
    monkeypatch.setenv("SCRATCH_LABELLED_DAYS", days)

    assert Retention.of(Settings(_env_file=None)).labelled_days == (float(days) if days else None)
