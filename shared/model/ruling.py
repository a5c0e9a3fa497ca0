"""From a probability to what one can act on: scratched, clean, or have a person look.

The two thresholds come with the checkpoint and keep a promise each (`training/certify.py` finds
them). What lies between them, what resembles nothing that the model was made from, and everything
of a checkpoint that can promise nothing, is for a person.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shared.model.manifest import Bound, Certificate

Word = Literal["scratched", "clean", "review"]
#: why a person should look: between the thresholds, unlike all training photos, or no promise
Reason = Literal["between", "unlike", "uncertified"]


@dataclass(frozen=True)
class Ruling:
    verdict: Word
    #: what is promised of this verdict, or why nothing is
    bound: str
    reason: Reason | None = None


def rule(certificate: Certificate | None, prob_scratches: float, *, unlike: bool) -> Ruling:
    """`unlike`: the image is far from all that the model was made from."""
    if certificate is None:
        said = "cannot certify: the checkpoint has no certificate for this precision"
        return Ruling("review", said, "uncertified")
    of_missed, of_alarms = promises(certificate)
    if unlike:
        return Ruling("review", f"{of_missed}; {of_alarms}", "unlike")
    low, high = certificate.clean_below, certificate.scratched_from
    if low is not None and prob_scratches < low:
        return Ruling("clean", of_missed)
    if high is not None and prob_scratches >= high:
        return Ruling("scratched", of_alarms)
    reason: Reason = "uncertified" if None in (low, high) else "between"
    return Ruling("review", f"{of_missed}; {of_alarms}", reason)


def promises(certificate: Certificate) -> tuple[str, str]:
    """What is known of missed scratches and of false alarms, or what it would take to know it."""
    return (
        _promise("missed scratches", certificate.missed, certificate.confidence),
        _promise("false alarms", certificate.false_alarms, certificate.confidence),
    )


def _promise(what: str, bound: Bound, confidence: float) -> str:
    said = f"{what} at most {100 * bound.rate:g} %, {100 * confidence:g} % confidence"
    if bound.certified:
        return f"{said}, from n = {bound.images} held-out images"
    return f"cannot certify {said}: n = {bound.images} held-out images, needed {bound.needed}"
