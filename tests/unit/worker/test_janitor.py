"""One worker prunes at a time, again and again, whatever is away meanwhile."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import fakeredis
import pytest

from shared.errors import HistoryUnavailable
from shared.history.retention import Retention
from shared.history.store import HistoryStore
from shared.records import RETENTION_KEY
from shared.settings import Settings
from tests.fakes_history import answered, keep
from worker import janitor as module
from worker.janitor import Janitor
from worker.lease import Lease

KEPT = Retention(history_days=1, labelled_days=None, history_max_bytes=10**9)


def test_a_lease_is_held_by_one_and_taken_over() -> None:
    redis: Any = fakeredis.FakeRedis()
    first, second = Lease(redis, "k", every_s=5), Lease(redis, "k", every_s=5)
    assert first.is_ours() and not second.is_ours() and first.is_ours()
    assert 0 < redis.pttl("k") <= 15_000
    redis.delete("k")  # as when its holder has been silent for so long
    assert second.is_ours() and not first.is_ours()


def test_it_prunes_and_survives_a_history_that_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = HistoryStore(Settings(_env_file=None, data_dir=tmp_path))
    keep(store, answered(1, at=1.0))
    pruned, calls, real = threading.Event(), [], module.prune

    def flaky(*arguments: Any, **options: Any) -> int:
        calls.append(1)
        if len(calls) == 1:
            raise HistoryUnavailable
        if len(calls) == 2:
            raise KeyError("a bug")
        removed = real(*arguments, **options)
        pruned.set()
        return removed

    monkeypatch.setattr(module, "prune", flaky)
    janitor = Janitor(fakeredis.FakeRedis(), store, KEPT, every_s=0.01)  # type: ignore[arg-type]
    janitor.start()
    assert pruned.wait(20)
    janitor.close()

    assert store.find(answered(1).task_id) is None
    store.close()


def test_another_ones_turn_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    redis: Any = fakeredis.FakeRedis()
    redis.set(RETENTION_KEY, "another")
    asked = threading.Event()
    monkeypatch.setattr(module, "prune", lambda *_, **__: pytest.fail("not our turn"))
    store = HistoryStore(Settings(_env_file=None, data_dir=tmp_path))
    janitor = Janitor(redis, store, KEPT, every_s=0.01)
    real = janitor._lease.is_ours

    def ask() -> bool:
        ours = real()
        asked.set()
        return ours

    monkeypatch.setattr(janitor._lease, "is_ours", ask)
    janitor.start()
    assert asked.wait(20)
    janitor.close()
    assert redis.get(RETENTION_KEY) == b"another"
