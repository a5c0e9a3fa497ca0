"""Doubt first, then difference; and never what is known."""

from __future__ import annotations

import numpy as np
import pytest

from shared.history.informative import doubt, most_informative
from shared.history.store import Answered, HistoryStore
from tests.fakes_history import NOW, answered, keep, say


def at(number: int, degrees: float, probability: float = 0.5, space: str = "s") -> Answered:
    angle = np.deg2rad(degrees)
    embedding = np.array([np.cos(angle), np.sin(angle)], "<f2").tobytes()
    return answered(number, prob_scratches=probability, embedding=embedding, embedding_space=space)


def order(store: HistoryStore, count: int) -> list[int]:
    return [int(answer.task_id, 16) for answer in most_informative(store, count)]


@pytest.mark.parametrize(
    ("probability", "threshold", "expected"),
    [(0.5, 0.5, 1), (1, 0.5, 0), (0, 0.5, 0), (0.2, 0.2, 1), (0.6, 0.2, 0.5), (0.1, 0.2, 0.5)],
)
def test_doubt(probability: float, threshold: float, expected: float) -> None:
    assert doubt(probability, threshold) == pytest.approx(expected)


def test_without_embeddings_the_least_sure_come_first(store: HistoryStore) -> None:
    probabilities = [0.9, 0.45, 0.62, 0.1]
    keep(store, *(answered(n, prob_scratches=p) for n, p in enumerate(probabilities)))
    keep(store, answered(4, prob_scratches=0.21, threshold=0.2))

    assert order(store, 3) == [4, 1, 2]
    assert order(store, 10) == [4, 1, 2, 0, 3]


def test_nothing_kept_is_nothing_to_label(store: HistoryStore) -> None:
    assert order(store, 5) == []


def test_labelled_photos_and_copies_are_left_out(store: HistoryStore) -> None:
    first, copy = answered(1), answered(2, sha256=answered(1).sha256, at=NOW + 1)
    keep(store, first, copy, answered(3), answered(4))
    say(store, answered(3), "scratches")

    assert sorted(order(store, 10)) == [2, 4]
    say(store, first, "scratches")
    assert order(store, 10) == [4]


def test_each_is_unlike_those_before(store: HistoryStore) -> None:
    keep(store, at(0, 0), at(1, 1), at(2, 90, 0.52), at(3, 91, 0.53), at(4, 180, 0.54))

    assert order(store, 3) == [0, 4, 2]
    assert sorted(order(store, 5)) == [0, 1, 2, 3, 4]


def test_where_numpy_is_spared_doubt_alone_decides(
    store: HistoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.history.informative.find_spec", lambda name: None)
    keep(store, at(0, 0), at(1, 1), at(2, 90, 0.52))

    assert order(store, 3) == [0, 1, 2]


def test_and_unlike_what_is_labelled(store: HistoryStore) -> None:
    keep(store, at(0, 0), at(1, 90, 0.55), at(2, 2, 0.5))
    say(store, at(0, 0), "scratches")

    assert order(store, 1) == [1]


def test_photos_without_a_place_take_their_turn(store: HistoryStore) -> None:
    """Of another model's space, or of none: nothing is known of what they are like."""
    keep(store, at(0, 0), at(1, 0.5), at(2, 1), at(3, 45, 0.5, "other"), answered(4))

    found = order(store, 5)
    assert sorted(found) == [0, 1, 2, 3, 4]
    assert found[0] == 0
    assert order(store, 2)[1] in (1, 2, 3), "its doubt is as great"
