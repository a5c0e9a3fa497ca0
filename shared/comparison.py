"""Is the challenger better, beyond chance? From images on which exactly one of the two was right.

If both are right equally often, each such image is a fair coin; McNemar's exact test asks that
once. Who looks again and again while a trial runs would in time see any p-value, so the decision
takes a bet instead: the likelihood of the coin under a uniform prior over its bias, divided by that
under a fair coin. It passes 1/ALPHA with a probability below ALPHA, however often one looks
(Ville's inequality; Robbins 1970, Ann. Math. Stat. 41(5)).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from scipy.special import betaln
from scipy.stats import binomtest

from shared.contract import Label
from shared.trials import Finding, Record

#: the probability of calling equal models unequal
ALPHA = 0.05

Decision = Literal["promote", "keep", "not enough evidence yet"]


@dataclass(frozen=True)
class Pairs:
    """Images on which both were tried, by who was right."""

    both: int = 0
    neither: int = 0
    champion_only: int = 0
    challenger_only: int = 0

    @classmethod
    def of(cls, rights: Iterable[tuple[bool, bool]]) -> Pairs:
        """`rights`: whether the champion was right, whether the challenger was."""
        found = list(rights)
        return cls(
            both=found.count((True, True)),
            neither=found.count((False, False)),
            champion_only=found.count((True, False)),
            challenger_only=found.count((False, True)),
        )

    @property
    def count(self) -> int:
        return self.both + self.neither + self.champion_only + self.challenger_only

    @property
    def p_value(self) -> float:
        """McNemar's exact test, two-sided; valid for one look."""
        differing = self.champion_only + self.challenger_only
        if not differing:
            return 1.0
        return float(binomtest(self.challenger_only, differing).pvalue)

    @property
    def odds(self) -> float:
        """Of unequal models against equal ones; valid at any look."""
        differing = self.champion_only + self.challenger_only
        uniform = float(betaln(self.challenger_only + 1, self.champion_only + 1))
        return math.exp(min(uniform + differing * math.log(2), 700))

    @property
    def decision(self) -> Decision:
        if self.odds < 1 / ALPHA:
            return "not enough evidence yet"
        return "promote" if self.challenger_only > self.champion_only else "keep"


def labelled_pairs(record: Record) -> Pairs:
    """Of a shadow, both findings on an image. Of a split, where an image has one finding: each
    against the latest unpaired one of the other model, in the order in which labels came, so that
    what was paired once stays paired."""
    rights: list[tuple[bool, bool]] = []
    waiting: dict[str, list[bool]] = {"champion": [], "challenger": []}
    for task_id, label in record.labels.items():
        ballot = record.ballots.get(task_id)
        if ballot is None:
            continue
        champion = _right(ballot.champion, label)
        challenger = _right(ballot.challenger, label)
        if champion is not None and challenger is not None:
            rights.append((champion, challenger))
        elif champion is not None:
            _pair(champion, waiting["champion"], waiting["challenger"], rights, flip=False)
        elif challenger is not None:
            _pair(challenger, waiting["challenger"], waiting["champion"], rights, flip=True)
    return Pairs.of(rights)


def _right(finding: Finding | None, label: Label) -> bool | None:
    return None if finding is None else finding.pred == label


def _pair(
    right: bool, own: list[bool], other: list[bool], rights: list[tuple[bool, bool]], *, flip: bool
) -> None:
    if not other:
        own.append(right)
        return
    pair = (right, other.pop())
    rights.append(pair[::-1] if flip else pair)
