"""The verdict says how good, on how many, how sure, and what to do next."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from training.dataset import Dropped
from training.verdict import Share, Verdict
from training.workspace import Workspace

VERDICT = Verdict(
    checkpoint=Path("ckpts/door"),
    photos={"scratches": 225, "no_scratches": 1019},
    scratched=Share(34, 34),
    clean=Share(152, 153),
    auroc=0.999,
    cross_validated=False,
    compared=None,
    dropped=(),
    near_duplicates=2,
    promises=("missed scratches at most 1 %", "cannot certify false alarms"),
)


def test_it_names_counts_interval_and_command() -> None:
    text = str(VERDICT)
    assert "225 of scratches and 1019 of no_scratches, 2 of them near-duplicates" in text
    assert "On 187 photos that it has not learned from" in text
    assert "34 of 34 (95 % interval: 89.8 to 100.0 %)" in text
    assert "SCRATCH_CKPT=ckpts/door make serve" in text


def test_it_says_which_views_were_tried() -> None:
    assert "Views: 448 pays" in str(replace(VERDICT, compared="Views: 448 pays"))


def test_it_names_what_was_left_out_but_not_without_end() -> None:
    dropped = tuple(Dropped(file=f"{n}.png", reason="Broken.", kind="broken") for n in range(9))
    text = str(replace(VERDICT, dropped=dropped))
    assert "Left out: 9 broken photos." in text
    assert "0.png: Broken." in text
    assert "8.png" not in text
    assert "and 4 more" in text


@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        ({"scratched": Share(20, 34)}, "more photos of scratches"),
        ({"clean": Share(100, 153)}, "more photos without scratches"),
        ({"photos": {"scratches": 60, "no_scratches": 900}}, "more photos for scratches/"),
        ({}, "other days and places"),
    ],
)
def test_advice_follows_the_weakest_point(changes: dict[str, object], advice: str) -> None:
    assert advice in str(replace(VERDICT, **changes))  # type: ignore[arg-type]


def test_few_photos_are_judged_by_cross_validation(built: tuple[Verdict, Workspace]) -> None:
    verdict = built[0]
    assert verdict.cross_validated
    assert (verdict.scratched.of, verdict.clean.of) == (16, 16)
    assert "all 32 were judged by cross-validation" in str(verdict)


def test_what_verdicts_promise_is_said() -> None:
    assert "promise:\n  missed scratches at most 1 %\n  cannot certify" in str(VERDICT)
