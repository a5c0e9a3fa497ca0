"""What somebody who trained on a folder of photos is told at the end, in plain words."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import binomtest

from shared.model.labels import LABELS, NO_SCRATCHES, SCRATCHES
from shared.model.manifest import Certificate
from shared.model.ruling import promises
from training.dataset import Dropped, Index
from training.features import Features
from training.workspace import Workspace

#: dropped files that are named one by one
_NAMED = 5
#: photos of a class below which more of them help more than anything else
_PLENTY = 200
#: share of wrong answers of one kind that calls for photos of that kind
_OFTEN = 0.05


@dataclass(frozen=True)
class Share:
    """So many of so many, with the 95 % interval of Wilson (scipy)."""

    right: int
    of: int

    def __str__(self) -> str:
        interval = binomtest(self.right, self.of).proportion_ci(method="wilson")
        percent = [f"{100 * value:.1f}" for value in (interval.low, interval.high)]
        return f"{self.right} of {self.of} (95 % interval: {percent[0]} to {percent[1]} %)"

    @property
    def wrong(self) -> float:
        return 1 - self.right / self.of


@dataclass(frozen=True)
class Verdict:
    checkpoint: Path
    #: usable photos by label
    photos: dict[str, int]
    #: photos that were judged
    scratched: Share
    clean: Share
    auroc: float
    cross_validated: bool
    #: sizes of view, in a sentence
    compared: str | None
    dropped: tuple[Dropped, ...]
    near_duplicates: int
    #: of missed scratches and of false alarms, or what it would take
    promises: tuple[str, str]

    @classmethod
    def of(
        cls,
        checkpoint: Path,
        work: Workspace,
        index: Index,
        features: Features,
        *,
        cross_validated: bool,
        compared: str | None = None,
    ) -> Verdict:
        metrics = json.loads(work.metrics.read_text())
        judged = features.labels if cross_validated else features.of("test")[1]
        counts = np.bincount(judged, minlength=2).tolist()
        groups = {image.group for image in index.images}
        return cls(
            checkpoint=checkpoint,
            photos=dict(Counter(image.label for image in index.images)),
            scratched=Share(round(metrics["recall"] * counts[SCRATCHES]), counts[SCRATCHES]),
            clean=Share(round(metrics["specificity"] * counts[NO_SCRATCHES]), counts[NO_SCRATCHES]),
            auroc=metrics["auroc"],
            cross_validated=cross_validated,
            compared=compared,
            dropped=index.dropped,
            near_duplicates=len(index.images) - len(groups),
            promises=promises(Certificate.model_validate_json(work.certificate.read_text())),
        )

    def __str__(self) -> str:
        parts = [self._learned(), *self._left_out(), "", *self._quality(), "", *self._next()]
        return "\n".join(parts)

    def _learned(self) -> str:
        used = " and ".join(f"{self.photos[label]} of {label}" for label in reversed(LABELS))
        near = f", {self.near_duplicates} of them near-duplicates" if self.near_duplicates else ""
        return f"{self.checkpoint} is made of {used}{near}."

    def _left_out(self) -> list[str]:
        kinds = Counter(dropped.kind for dropped in self.dropped)
        lines = [f"Left out: {count} {kind} photos." for kind, count in sorted(kinds.items())]
        lines += [f"  {d.file}: {d.reason}" for d in self.dropped[:_NAMED]]
        if len(self.dropped) > _NAMED:
            lines.append(f"  and {len(self.dropped) - _NAMED} more")
        return lines

    def _quality(self) -> list[str]:
        judged = self.scratched.of + self.clean.of
        how = (
            f"Too few photos to set some aside: all {judged} were judged by cross-validation,\n"
            "each by a model that had not seen it. The checkpoint learned from all of them."
            if self.cross_validated
            else f"On {judged} photos that it has not learned from, of the same folder:"
        )
        return [
            how,
            f"  scratched photos found   {self.scratched}",
            f"  other photos left alone  {self.clean}",
            f"  AUROC                    {self.auroc:.3f} (1 is perfect, 0.5 is a coin)",
            *([self.compared] if self.compared else []),
            "What its verdicts promise:",
            *(f"  {promise}" for promise in self.promises),
            "Photos of another place, lamp or camera may go worse.",
        ]

    def _next(self) -> list[str]:
        return [
            f"Next: {self._advice()}",
            f"Serve it: SCRATCH_CKPT={self.checkpoint} make serve",
        ]

    def _advice(self) -> str:
        misses, alarms = self.scratched.wrong, self.clean.wrong
        if max(misses, alarms) > _OFTEN and misses >= alarms:
            return (
                "more photos of scratches, first of the kinds that are missed: thin, short, faint."
            )
        if alarms > _OFTEN:
            return (
                "more photos without scratches, first of what is taken for one:"
                " seams, edges, reflections, dirt."
            )
        fewest = min(self.photos, key=lambda label: self.photos[label])
        if self.photos[fewest] < _PLENTY:
            return f"more photos for {fewest}/; with {self.photos[fewest]} the interval is wide."
        return "try it on photos of other days and places, and add those that it gets wrong."
