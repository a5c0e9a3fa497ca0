"""Ballots and labels in Redis: whole, bounded, and readable after a restart."""

from __future__ import annotations

from typing import Any

import fakeredis
import pytest

from shared import trials
from shared.trials import LABELS_KEY, Ballot, Finding, Record, TrialStore, trial_key

YES = Finding(pred="scratches", prob_scratches=0.75, ms=9.5)
NO = Finding(pred="no_scratches", prob_scratches=0.25)


@pytest.fixture
def redis() -> fakeredis.FakeRedis:
    return fakeredis.FakeRedis()


@pytest.fixture
def store(redis: Any) -> TrialStore:
    return TrialStore(redis)


def test_an_unknown_trial_is_empty(store: TrialStore) -> None:
    assert store.read("t") == Record()


def test_what_was_noted_is_read_back(store: TrialStore) -> None:
    ballots = [Ballot(task_id="a", champion=YES, challenger=NO), Ballot(task_id="b", champion=NO)]
    for ballot in ballots:
        store.add("t", ballot)
    store.count("t", "skipped", 3)
    store.count("t", "skipped")
    store.label("a", "scratches")

    record = store.read("t")

    assert record.ballots == {"a": ballots[0], "b": ballots[1]}
    assert record.counts == {"skipped": 4}
    assert record.labels == {"a": "scratches"}
    assert store.read("other").ballots == {}


def test_a_task_that_ran_twice_has_one_ballot(store: TrialStore) -> None:
    store.add("t", Ballot(task_id="a", champion=YES))
    store.add("t", Ballot(task_id="a", champion=YES, challenger=NO))

    assert list(store.read("t").ballots.values()) == [
        Ballot(task_id="a", champion=YES, challenger=NO)
    ]


def test_the_last_word_on_a_task_counts(store: TrialStore) -> None:
    for said in ("scratches", "no_scratches"):
        store.label("a", said)  # type: ignore[arg-type]

    assert store.read("t").labels == {"a": "no_scratches"}


def test_neither_ballots_nor_labels_grow_without_end(
    store: TrialStore, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "BALLOTS", 5)
    monkeypatch.setattr(trials, "LABELS_KEPT", 5)
    for number in range(300):
        store.add("t", Ballot(task_id=str(number), champion=YES))
        store.label(str(number), "scratches")

    assert redis.xlen(trial_key("t")) < 200  # Redis trims by whole nodes
    assert redis.xlen(LABELS_KEY) < 200
    assert "299" in store.read("t").ballots
    assert redis.ttl(trial_key("t")) > 0


def test_a_ballot_of_another_version_is_passed_over(store: TrialStore, redis: Any) -> None:
    redis.xadd(trial_key("t"), {"ballot": '{"of": "another version"}'})
    store.add("t", Ballot(task_id="a", champion=YES))

    assert list(store.read("t").ballots) == ["a"]
