"""Following the rollout, with models that open at once or not at all."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import fakeredis
import pytest
from redis.exceptions import RedisError

from shared.errors import CheckpointError
from shared.rollout import ROLLOUT_KEY, RolloutStore, Trial
from worker.deployer import Deployer, Standing

OWN, A, B = (f"{name}@{'0' * 12}" for name in ("own", "steel", "paint"))


class Shelf:
    """Opens models by title; which of them are sound is up to the test."""

    def __init__(self) -> None:
        self.sound = {OWN, A, B}
        self.opened: list[str | None] = []
        self.same_tower: set[str] = set()
        self.shared: list[str] = []

    def open(self, title: str | None) -> Any:
        self.opened.append(title)
        found = title or OWN
        if found not in self.sound:
            raise CheckpointError(f"{found} is broken")
        return model(found)

    def share(self, champion: Any, title: str) -> Any:
        self.shared.append(title)
        if title not in self.same_tower:
            raise CheckpointError("another tower")
        return SimpleNamespace(challenger=model(title), title=title)


def model(title: str) -> Any:
    return SimpleNamespace(
        manifest=SimpleNamespace(title=title), runtime=SimpleNamespace(variant="fake")
    )


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def redis() -> fakeredis.FakeRedis:
    return fakeredis.FakeRedis()


@pytest.fixture
def store(redis: Any) -> RolloutStore:
    return RolloutStore(redis)


@pytest.fixture
def deployer(shelf: Shelf, store: RolloutStore) -> Deployer:
    deployer = Deployer(shelf, store, retry_s=0)
    deployer.open_first()
    return deployer


def serving(deployer: Deployer) -> tuple[str, str | None]:
    lineup = deployer.lineup
    challenger = lineup.challenger.manifest.title if lineup.challenger else None
    assert (lineup.trial is None) == (challenger is None)
    return lineup.champion.manifest.title, challenger


def promote(store: RolloutStore, title: str) -> None:
    store.change(lambda rollout: rollout.promoted(title))


def test_without_a_rollout_a_worker_serves_its_own_checkpoint(deployer: Deployer) -> None:
    assert serving(deployer) == (OWN, None)
    assert deployer.standing == Standing(0, None)


def test_a_worker_starts_with_the_champion_and_does_not_open_its_own(
    shelf: Shelf, store: RolloutStore
) -> None:
    promote(store, A)
    deployer = Deployer(shelf, store)
    deployer.open_first()

    assert serving(deployer) == (A, None)
    assert shelf.opened == [A]


def test_a_worker_starts_without_redis(
    shelf: Shelf, store: RolloutStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> None:
        raise RedisError("away")

    monkeypatch.setattr(store, "read", away)
    deployer = Deployer(shelf, store)
    deployer.open_first()
    deployer.follow()

    assert serving(deployer) == (OWN, None)


def test_a_worker_without_any_sound_model_does_not_start(shelf: Shelf, store: RolloutStore) -> None:
    promote(store, A)
    shelf.sound = set()
    with pytest.raises(CheckpointError, match="own"):
        Deployer(shelf, store).open_first()


def test_a_broken_champion_at_the_start_leaves_the_own_checkpoint(
    shelf: Shelf, store: RolloutStore
) -> None:
    promote(store, A)
    shelf.sound = {OWN}
    deployer = Deployer(shelf, store)
    deployer.open_first()

    assert serving(deployer) == (OWN, None)
    assert deployer.standing == Standing(1, f"{A} is broken")


def test_a_promotion_changes_over_and_lets_the_old_model_go(
    deployer: Deployer, store: RolloutStore, shelf: Shelf
) -> None:
    promote(store, A)
    deployer.follow()
    assert serving(deployer) == (A, None)
    assert deployer.standing == Standing(1, None)

    store.change(lambda rollout: rollout.rolled_back())
    deployer.follow()
    assert serving(deployer) == (OWN, None)
    assert shelf.opened == [None, A, None]


def test_nothing_is_opened_twice_while_nothing_changes(deployer: Deployer, shelf: Shelf) -> None:
    for _ in range(3):
        deployer.follow()
    assert shelf.opened == [None]


def test_promoting_what_serves_already_opens_nothing(
    deployer: Deployer, store: RolloutStore, shelf: Shelf
) -> None:
    promote(store, OWN)
    deployer.follow()

    assert (serving(deployer), deployer.standing) == ((OWN, None), Standing(1, None))
    assert shelf.opened == [None]


def test_a_model_that_does_not_prove_itself_changes_nothing_until_it_does(
    deployer: Deployer, store: RolloutStore, shelf: Shelf
) -> None:
    shelf.sound.remove(A)
    promote(store, A)
    deployer.follow()
    assert serving(deployer) == (OWN, None)
    assert deployer.standing == Standing(1, f"{A} is broken")

    shelf.sound.add(A)
    deployer.follow()
    assert serving(deployer) == (A, None)
    assert deployer.standing == Standing(1, None)


def test_a_failure_is_not_tried_again_at_every_look(shelf: Shelf, store: RolloutStore) -> None:
    deployer = Deployer(shelf, store, retry_s=3600)
    deployer.open_first()
    shelf.sound.remove(A)
    promote(store, A)
    for _ in range(3):
        deployer.follow()
    assert shelf.opened == [None, A]


def test_a_bug_in_opening_is_survived(
    deployer: Deployer, store: RolloutStore, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(title: str | None) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(shelf, "open", broken)
    promote(store, A)
    deployer.follow()

    assert serving(deployer) == (OWN, None)
    assert "KeyError" in (deployer.standing.behind or "")


def test_a_trial_puts_the_challenger_beside_the_champion_and_takes_it_away(
    deployer: Deployer, store: RolloutStore, shelf: Shelf
) -> None:
    store.change(lambda rollout: rollout.trying(Trial(challenger=A, share=0.5)))
    deployer.follow()
    assert serving(deployer) == (OWN, A)

    promote(store, A)
    deployer.follow()
    assert serving(deployer) == (A, None)
    assert shelf.opened == [None, A]


def test_a_broken_challenger_leaves_the_champion_alone(
    deployer: Deployer, store: RolloutStore, shelf: Shelf
) -> None:
    shelf.sound.remove(A)
    store.change(lambda rollout: rollout.trying(Trial(challenger=A, share=0.5)))
    deployer.follow()

    assert serving(deployer) == (OWN, None)
    assert deployer.standing.behind == f"{A} is broken"


def test_no_trial_is_held_against_a_champion_that_is_not_there(
    deployer: Deployer, store: RolloutStore, shelf: Shelf
) -> None:
    shelf.sound.remove(B)
    promote(store, B)
    store.change(lambda rollout: rollout.trying(Trial(challenger=A, share=0.5)))
    deployer.follow()

    assert serving(deployer) == (OWN, None)


def start_shadow(store: RolloutStore, title: str) -> None:
    store.change(lambda rollout: rollout.trying(Trial(challenger=title, shadow=True)))


def test_a_shadow_of_the_same_tower_is_not_opened_again(
    deployer: Deployer, store: RolloutStore, shelf: Shelf
) -> None:
    shelf.same_tower = {A}
    start_shadow(store, A)
    deployer.follow()
    start_shadow(store, A)
    deployer.follow()

    assert serving(deployer) == (OWN, A)
    assert deployer.lineup.tower
    assert (shelf.opened, shelf.shared) == ([None], [A])


def test_a_shadow_of_another_tower_is_opened_by_itself(
    deployer: Deployer, store: RolloutStore, shelf: Shelf
) -> None:
    start_shadow(store, A)
    deployer.follow()

    assert serving(deployer) == (OWN, A)
    assert deployer.lineup.tower is None
    assert shelf.opened == [None, A]


def test_a_promoted_shadow_gets_a_graph_of_its_own(
    deployer: Deployer, store: RolloutStore, shelf: Shelf
) -> None:
    shelf.same_tower = {A}
    start_shadow(store, A)
    deployer.follow()
    promote(store, A)
    deployer.follow()

    assert serving(deployer) == (A, None)
    assert shelf.opened == [None, A]


def test_a_rollout_that_cannot_be_read_changes_nothing(deployer: Deployer, redis: Any) -> None:
    redis.set(ROLLOUT_KEY, b"{")
    deployer.follow()

    assert serving(deployer) == (OWN, None)
    assert "cannot be read" in (deployer.standing.behind or "")


def test_the_thread_follows_by_itself(shelf: Shelf, store: RolloutStore) -> None:
    deployer = Deployer(shelf, store, poll_s=0.001)
    deployer.open_first()
    deployer.start()
    promote(store, A)
    give_up_at = time.monotonic() + 20
    while serving(deployer) != (A, None) and time.monotonic() < give_up_at:
        time.sleep(0.005)
    deployer.close()
    deployer._thread.join(10)

    assert serving(deployer) == (A, None)
    assert not deployer._thread.is_alive()
