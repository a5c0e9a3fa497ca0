"""Scratched, clean or review, and what is said of each."""

from __future__ import annotations

import pytest

from shared.model.manifest import Certificate
from shared.model.ruling import rule

FIELDS = {
    "confidence": 0.95,
    "unlike": 0.01,
    "missed": {"rate": 0.01, "images": 412, "needed": 299},
    "false_alarms": {"rate": 0.05, "images": 120, "needed": 59},
    "clean_below": 0.1,
    "scratched_from": 0.8,
}
CERTIFICATE = Certificate.model_validate(FIELDS)
MISSED = "missed scratches at most 1 %, 95 % confidence, from n = 412 held-out images"
ALARMS = "false alarms at most 5 %, 95 % confidence, from n = 120 held-out images"


@pytest.mark.parametrize(
    ("probability", "verdict", "bound", "reason"),
    [
        (0.0, "clean", MISSED, None),
        (0.0999, "clean", MISSED, None),
        (0.1, "review", f"{MISSED}; {ALARMS}", "between"),
        (0.7999, "review", f"{MISSED}; {ALARMS}", "between"),
        (0.8, "scratched", ALARMS, None),
        (1.0, "scratched", ALARMS, None),
    ],
)
def test_two_thresholds_make_three_verdicts(
    probability: float, verdict: str, bound: str, reason: str | None
) -> None:
    found = rule(CERTIFICATE, probability, unlike=False)

    assert (found.verdict, found.bound, found.reason) == (verdict, bound, reason)


@pytest.mark.parametrize("probability", [0.0, 0.5, 1.0])
def test_what_is_unlike_all_training_photos_is_for_a_person(probability: float) -> None:
    found = rule(CERTIFICATE, probability, unlike=True)

    assert (found.verdict, found.reason) == ("review", "unlike")


@pytest.mark.parametrize("unlike", [True, False])
def test_a_checkpoint_without_a_certificate_says_so(unlike: bool) -> None:
    found = rule(None, 0.99, unlike=unlike)

    assert (found.verdict, found.reason) == ("review", "uncertified")
    assert "cannot certify" in found.bound


def test_too_few_images_of_one_class_leave_the_other_promise() -> None:
    few = {"rate": 0.01, "images": 40, "needed": 299}
    one = Certificate.model_validate(FIELDS | {"missed": few, "clean_below": None})

    assert rule(one, 0.9, unlike=False).verdict == "scratched"
    found = rule(one, 0.0, unlike=False)
    assert (found.verdict, found.reason) == ("review", "uncertified")
    assert found.bound.startswith(
        "cannot certify missed scratches at most 1 %, 95 % confidence: "
        "n = 40 held-out images, needed 299; "
    )
