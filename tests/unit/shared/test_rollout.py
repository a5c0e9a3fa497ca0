"""Which models should serve: who gets which, what a change keeps, what Redis holds."""

from __future__ import annotations

from typing import Any

import fakeredis
import pytest
from pydantic import ValidationError

from shared.errors import BadMessage
from shared.rollout import ROLLOUT_KEY, Rollout, RolloutStore, Trial

A, B, C = (f"{name}@{'0' * 12}" for name in ("steel", "paint", "glass"))
KEYS = [f"client-{n}" for n in range(4000)]


def trial(**fields: Any) -> Trial:
    return Trial(**({"id": "00000001", "challenger": B, "share": 0.25, "started_at": 1.5} | fields))


def challenged(trial: Trial) -> set[str]:
    return {key for key in KEYS if trial.arm(key) == "challenger"}


def test_the_challenger_gets_its_share_of_the_clients() -> None:
    assert len(challenged(trial())) / len(KEYS) == pytest.approx(0.25, abs=0.03)


def test_a_client_keeps_its_model_when_the_share_grows() -> None:
    assert challenged(trial()) < challenged(trial(share=0.5))


def test_a_new_trial_draws_anew() -> None:
    first, second = challenged(trial()), challenged(trial(id="00000002"))
    assert len(first & second) / len(first) == pytest.approx(0.25, abs=0.06)


def test_a_known_key_falls_where_it_always_fell() -> None:
    """Workers of two versions must agree."""
    assert [n for n in range(16) if trial().arm(KEYS[n]) == "challenger"] == [2, 6, 9]


def test_a_shadow_answers_nobody() -> None:
    assert challenged(trial(share=0, shadow=True)) == set()


@pytest.mark.parametrize(
    "fields",
    [{"share": 1.0}, {"share": -0.1}, {"share": 0.0}, {"shadow": True}, {"challenger": "../x@1"}],
)
def test_a_trial_that_means_nothing_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        trial(**fields)


def test_promoting_ends_the_trial_and_remembers_the_former_champion() -> None:
    rollout = Rollout().promoted(A).trying(trial()).promoted(B)
    assert (rollout.champion, rollout.history, rollout.trial) == (B, (None, A), None)
    assert rollout.number == 3


def test_promoting_the_champion_again_remembers_nothing_new() -> None:
    assert Rollout().promoted(A).promoted(A).history == (None,)


def test_rolling_back_goes_back_step_by_step_to_the_workers_own_model() -> None:
    rollout = Rollout().promoted(A).promoted(B)
    assert rollout.rolled_back().champion == A
    assert rollout.rolled_back().rolled_back().champion is None
    with pytest.raises(ValueError, match="no former champion"):
        rollout.rolled_back().rolled_back().rolled_back()


def test_only_so_many_champions_are_remembered() -> None:
    rollout = Rollout()
    for number in range(30):
        rollout = rollout.promoted((A, B, C)[number % 3])
    assert len(rollout.history) == 10


@pytest.fixture
def redis() -> fakeredis.FakeRedis:
    return fakeredis.FakeRedis()


def test_nothing_in_redis_means_nothing_was_promoted(redis: Any) -> None:
    assert RolloutStore(redis).read() == Rollout()


def test_a_change_is_read_back_whole(redis: Any) -> None:
    store = RolloutStore(redis)
    store.change(lambda rollout: rollout.promoted(A))
    changed = store.change(lambda rollout: rollout.trying(trial()))
    assert store.read() == changed
    assert changed.champion == A and changed.trial == trial()


def test_two_operators_at_once_lose_no_change(redis: Any) -> None:
    store = RolloutStore(redis)
    meanwhile = [A]

    def edit(rollout: Rollout) -> Rollout:
        if meanwhile:
            store.change(lambda rollout: rollout.promoted(meanwhile.pop()))
        return rollout.promoted(B)

    assert store.change(edit).history == (None, A)


@pytest.mark.parametrize("stored", [b"", b"{", b'{"number": "x"}', b'{"champion": "../etc"}'])
def test_what_cannot_be_read_is_an_error_and_not_a_change(redis: Any, stored: bytes) -> None:
    redis.set(ROLLOUT_KEY, stored)
    with pytest.raises(BadMessage, match="cannot be read"):
        RolloutStore(redis).read()
    with pytest.raises(BadMessage):
        RolloutStore(redis).change(lambda rollout: rollout.promoted(A))
    assert redis.get(ROLLOUT_KEY) == stored
