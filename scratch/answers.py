"""What the service answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Label = Literal["scratches", "no_scratches"]
Verdict = Literal["scratched", "clean", "review"]
#: what a photo shows, or whether its answer was right
Said = Literal["scratches", "no_scratches", "right", "wrong"]


@dataclass(frozen=True)
class Where:
    """Where the evidence for a scratch lies, in shares of the photo's width and height."""

    #: (x, y)
    hottest: tuple[float, float]
    #: (left, top, right, bottom) of the region around it
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class Inspection:
    """One photo's answer; the two probabilities sum to 1."""

    task_id: str
    pred: Label
    prob_no_scratches: float
    prob_scratches: float
    model: str
    #: where it was asked for with `explain=True`
    where: Where | None = None
    #: what one can act on; None from a service that does not tell
    verdict: Verdict | None = None
    #: what is promised of the verdict, for people
    bound: str | None = None
    #: of a review: `between` the thresholds, `unlike` all training photos, `uncertified`
    reason: str | None = None


@dataclass(frozen=True)
class Feedback:
    """What now counts as the truth about a photo."""

    task_id: str
    #: None: nothing
    label: Label | None
    #: what had been answered
    pred: Label
    #: whether the service has the photo, so that a model can learn from it
    image_kept: bool


def inspection_of(view: dict[str, Any]) -> Inspection:
    """From the view of a task that is done. Raises KeyError or TypeError for anything else."""
    found = view.get("explanation")
    return Inspection(
        task_id=view["task_id"],
        model=view["model"],
        verdict=view.get("verdict"),
        bound=view.get("bound"),
        reason=view.get("reason"),
        where=Where(tuple(found["hottest"]), tuple(found["box"])) if found else None,
        **view["result"],
    )
