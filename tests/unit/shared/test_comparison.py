"""Better beyond chance, or not: by known values, and by simulating many trials."""

from __future__ import annotations

import numpy as np
import pytest

from shared.comparison import Pairs, labelled_pairs
from shared.contract import Label
from shared.trials import Ballot, Finding, Record

YES = Finding(pred="scratches", prob_scratches=0.9)
NO = Finding(pred="no_scratches", prob_scratches=0.1)


def pairs(champion_only: int, challenger_only: int) -> Pairs:
    return Pairs(50, 5, champion_only, challenger_only)


@pytest.mark.parametrize(
    ("champion_only", "challenger_only", "p_value"),
    # 2 * P(Binomial(n, 1/2) <= min), by hand
    [(0, 0, 1), (0, 5, 2 / 2**5), (1, 5, 2 * 7 / 2**6), (3, 3, 1), (0, 10, 2 / 2**10)],
)
def test_mcnemars_exact_test_by_hand(
    champion_only: int, challenger_only: int, p_value: float
) -> None:
    assert pairs(champion_only, challenger_only).p_value == pytest.approx(p_value)


@pytest.mark.parametrize(
    ("champion_only", "challenger_only", "odds"),
    # 2^n / ((n + 1) * C(n, k)), by hand
    [(0, 0, 1), (0, 1, 1), (1, 1, 4 / 6), (0, 8, 256 / 9), (2, 2, 16 / 30)],
)
def test_the_odds_by_hand(champion_only: int, challenger_only: int, odds: float) -> None:
    assert pairs(champion_only, challenger_only).odds == pytest.approx(odds)


def test_the_odds_of_a_landslide_are_a_number() -> None:
    assert np.isfinite(pairs(0, 20_000).odds)


def test_the_three_verdicts() -> None:
    assert pairs(0, 8).decision == "promote"
    assert pairs(8, 0).decision == "keep"
    assert pairs(2, 6).decision == "not enough evidence yet"
    assert Pairs().decision == "not enough evidence yet"


def test_looking_after_every_label_seldom_parts_equal_models() -> None:
    """At most 5 % of the trials, and that by looking 300 times."""
    coins = np.random.default_rng(0).integers(0, 2, (400, 300))
    wrong = 0
    for trial in coins:
        wins = trial.cumsum()
        wrong += any(
            pairs(n - int(k), int(k)).decision != "not enough evidence yet"
            for n, k in enumerate(wins, 1)
        )
    assert wrong / len(coins) <= 0.05


def record(ballots: list[Ballot], labels: dict[str, Label]) -> Record:
    return Record({ballot.task_id: ballot for ballot in ballots}, {}, labels)


def test_a_shadow_is_paired_by_image() -> None:
    found = labelled_pairs(
        record(
            [
                Ballot(task_id="a", champion=YES, challenger=NO),
                Ballot(task_id="b", champion=YES, challenger=YES),
                Ballot(task_id="c", champion=NO, challenger=YES),
                Ballot(task_id="d", champion=NO, challenger=NO),
                Ballot(task_id="unlabelled", champion=NO, challenger=NO),
            ],
            {
                "a": "scratches",
                "b": "scratches",
                "c": "scratches",
                "d": "scratches",
                "x": "scratches",
            },
        )
    )
    assert found == Pairs(both=1, neither=1, champion_only=1, challenger_only=1)


def test_a_split_is_paired_by_the_order_of_labels() -> None:
    ballots = [
        Ballot(task_id="a", champion=NO),
        Ballot(task_id="b", champion=YES),
        Ballot(task_id="c", challenger=YES),
        Ballot(task_id="d", challenger=NO),
        Ballot(task_id="e", champion=YES),
    ]
    labels: dict[str, Label] = {}
    seen = []
    for ballot in ballots:
        labels[ballot.task_id] = "scratches"
        seen.append(labelled_pairs(record(ballots, labels)))
    # c is held against b, d against a; e waits for another challenger's
    assert [found.count for found in seen] == [0, 0, 1, 2, 2]
    assert seen[-1] == Pairs(both=1, neither=1)


def test_a_challenger_labelled_first_is_not_taken_for_the_champion() -> None:
    ballots = [Ballot(task_id="a", challenger=YES), Ballot(task_id="b", champion=NO)]
    found = labelled_pairs(record(ballots, {"a": "scratches", "b": "scratches"}))
    assert found == Pairs(challenger_only=1)
