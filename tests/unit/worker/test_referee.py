"""What a trial learns of each answer, and that no answer pays for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import fakeredis
import numpy as np
import pytest
from redis.exceptions import RedisError

from shared.contract import InspectJob
from shared.model.inspector import Verdict
from shared.rollout import Trial
from shared.trials import Ballot, Finding, TrialStore
from worker.batcher import Batcher
from worker.lineup import Lineup
from worker.referee import Referee, Sighting

TITLE = f"new@{'0' * 12}"
YES = Verdict("scratches", 0.25, 0.75)
CHAMPION = Finding(pred="scratches", prob_scratches=0.75, ms=5)


class Model:
    """A challenger whose forward pass may wait or fail."""

    manifest = SimpleNamespace(title=TITLE)

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.error: Exception | None = None

    def preprocess(self, data: bytes) -> Any:
        return np.zeros((1, 4, 4, 3), np.uint8)

    def forward(self, views: Any) -> Any:
        assert self.gate.wait(10)
        if self.error:
            raise self.error
        return np.array([[1.0, 0.0]] * len(views), np.float32)

    def postprocess(self, logits: Any) -> Verdict:
        if not np.isfinite(logits).all():
            raise ValueError("not finite")
        return Verdict("no_scratches", 0.9, 0.1) if logits[0] > logits[1] else YES


def lineup(**fields: Any) -> Lineup:
    champion, challenger = Model(), Model()
    trial = Trial(challenger=TITLE, id="00000001", **(fields or {"shadow": True}))
    return Lineup(champion, trial, challenger)  # type: ignore[arg-type]


def job(number: int = 0, client: str = "") -> InspectJob:
    return InspectJob(
        id=str(number), sha256=str(number), size=1, accepted_at=0, deadline_at=1, client=client
    )


def seen(lineup: Lineup, model: Any, other: Any = None) -> Sighting | None:
    return lineup.sighting(job(), model, YES, ms=5, image=b"photo", other=other)


def test_one_client_has_one_model_and_images_of_nobody_are_told_apart_by_their_hash() -> None:
    half = lineup(share=0.5)
    of_one = {half.answering(job(n, client="me")) for n in range(20)}
    of_nobody = [half.answering(job(n)) for n in range(200)]

    assert len(of_one) == 1
    assert 60 < of_nobody.count(half.champion) < 140
    assert [half.answering(job(n)) for n in range(200)] == of_nobody


def test_without_a_trial_nothing_is_noted() -> None:
    assert seen(Lineup(Model()), None) is None  # type: ignore[arg-type]


def test_a_split_notes_who_answered() -> None:
    half = lineup(share=0.5)
    assert seen(half, half.champion) == Sighting(
        trial_id="00000001", ballot=Ballot(task_id="0", champion=CHAMPION)
    )
    assert seen(half, half.challenger) == Sighting(
        trial_id="00000001", ballot=Ballot(task_id="0", challenger=CHAMPION)
    )


def test_a_shadow_on_the_same_pass_is_noted_at_once() -> None:
    shadow = lineup()
    sighting = seen(shadow, shadow.champion, other=np.array([2.0, 1.0]))
    assert sighting and sighting.ballot.challenger == Finding(
        pred="no_scratches", prob_scratches=0.1
    )
    assert sighting.challenger is None


def test_a_shadow_whose_head_failed_is_a_failure_of_the_shadow_alone() -> None:
    shadow = lineup()
    sighting = seen(shadow, shadow.champion, other=np.array([np.nan, np.nan]))
    assert sighting and sighting.failed
    assert sighting.ballot == Ballot(task_id="0", champion=CHAMPION)


def test_a_shadow_with_a_pass_of_its_own_is_left_to_the_referee() -> None:
    shadow = lineup()
    sighting = seen(shadow, shadow.champion)
    assert sighting and sighting.challenger is shadow.challenger
    assert sighting.image == b"photo"


@pytest.fixture
def store() -> TrialStore:
    return TrialStore(fakeredis.FakeRedis())


@pytest.fixture
def referee(store: TrialStore) -> Iterator[Referee]:
    batcher = Batcher(max_batch=4)
    referee = Referee(batcher, store)
    referee.start()
    yield referee
    batcher.close()
    referee.close()


def sighting(model: Model | None = None, number: int = 0, size: int = 1) -> Sighting:
    ballot = Ballot(task_id=str(number), champion=CHAMPION)
    return Sighting(trial_id="t", ballot=ballot, challenger=model, image=bytes(size))  # type: ignore[arg-type]


def wait_for(store: TrialStore, ballots: int) -> None:
    give_up_at = time.monotonic() + 20
    while len(store.read("t").ballots) < ballots:
        assert time.monotonic() < give_up_at
        time.sleep(0.005)


def test_the_referee_lets_the_challenger_judge_and_writes_both(
    referee: Referee, store: TrialStore
) -> None:
    referee.note(sighting(Model()))
    wait_for(store, 1)

    (ballot,) = store.read("t").ballots.values()
    assert ballot.champion == CHAMPION
    assert ballot.challenger and ballot.challenger.pred == "no_scratches"
    assert ballot.challenger.ms is not None


def test_a_challenger_that_fails_is_counted_and_the_next_one_judged(
    referee: Referee, store: TrialStore
) -> None:
    broken = Model()
    broken.error = RuntimeError("out of memory")
    referee.note(sighting(broken))
    referee.note(sighting(Model(), number=1))
    wait_for(store, 2)

    record = store.read("t")
    assert record.counts == {"failed": 1}
    assert [bool(ballot.challenger) for ballot in record.ballots.values()] == [False, True]


@pytest.mark.parametrize(("limit", "value"), [("_most", 2), ("_most_bytes", 25)])
def test_what_there_is_no_time_for_is_counted_and_never_waited_for(
    referee: Referee, store: TrialStore, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    monkeypatch.setattr(referee._lane, limit, value)
    slow = Model()
    slow.gate.clear()
    for number in range(5):
        referee.note(sighting(slow, number, size=10))
    slow.gate.set()
    wait_for(store, 2)
    give_up_at = time.monotonic() + 20
    while referee._lane.waiting:
        assert time.monotonic() < give_up_at
        time.sleep(0.005)
    referee.note(sighting(number=9))
    wait_for(store, 3)

    assert store.read("t").counts == {"skipped": 3}


def test_a_redis_that_is_away_costs_ballots_and_nothing_else(
    referee: Referee, store: TrialStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise RedisError("away")

    with monkeypatch.context() as patch:
        patch.setattr(store, "add", away)
        referee.note(sighting())
        give_up_at = time.monotonic() + 20
        while referee._lane.waiting:
            assert time.monotonic() < give_up_at
            time.sleep(0.005)
    referee.note(sighting(number=1))
    wait_for(store, 1)

    assert list(store.read("t").ballots) == ["1"]


def test_closing_writes_what_waits(store: TrialStore) -> None:
    batcher = Batcher(max_batch=4)
    referee = Referee(batcher, store)
    for number in range(20):
        referee.note(sighting(Model(), number))
    referee.start()
    referee.close(60)
    batcher.close()

    assert len(store.read("t").ballots) == 20
