"""How small a scratch a model still finds: scratches of known size drawn on clean photos.

The method. On clean photos that the model calls clean, scratches are drawn at random places and
angles, and we count how many turn the answer. Widths are judged from the widest down; the last
whose recall is proven (one-sided binomial bound of Clopper and Pearson) before the first that is
not, is the limit. As the order is fixed beforehand, the whole statement holds with the stated
confidence. It speaks of scratches anywhere on these photos; photos unlike them are another matter.

Equal photos and seeds give equal scratches to every model, so that limits compare.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress
from scipy.stats import beta

from shared.model.decode import Pixels, decode
from shared.model.inspector import Inspector
from shared.model.labels import LABELS, SCRATCHES
from shared.model.preprocess import ImageLimits
from shared.model.views import make_views
from training.params import LimitsParams
from training.synthetic import ScratchSpec, draw_scratch

#: RGB photos of equal size, uint8 [height, width, 3], to decisions: True where a scratch is seen
Decide = Callable[[Sequence[Pixels]], NDArray[np.bool_]]
#: photos of one forward pass
_BATCH = 8
#: side of the patch that is drawn on, in lengths of its scratch: room for the bow
_PATCH = 1.4
_FULL_SIZE = 65_536


@dataclass(frozen=True)
class Level:
    """One width and contrast: how many of its scratches were found."""

    width: float
    contrast: float
    found: int
    trials: int
    #: of the recall
    lower_bound: float

    @property
    def recall(self) -> float:
        return self.found / self.trials


@dataclass(frozen=True)
class Limits:
    params: LimitsParams
    photos: int
    #: of `photos`: seen as scratched as they are; nothing is drawn on them
    false_alarms: int
    #: median of the photos, in pixels
    diagonal: float
    levels: tuple[Level, ...]

    def smallest(self, contrast: float) -> Level | None:
        """The narrowest proven width below which none was judged; None when not even the widest."""
        proven = None
        for level in sorted(self.levels, key=lambda one: -one.width):
            if level.contrast != contrast:
                continue
            if level.lower_bound < self.params.recall:
                break
            proven = level
        return proven

    def summary(self) -> dict[str, Any]:
        """For JSON."""
        smallest = {contrast: self.smallest(contrast) for contrast in self.params.contrasts}
        return {
            "photos": self.photos,
            "false_alarms": self.false_alarms,
            "false_alarm_rate": round(self.false_alarms / self.photos, 5),
            "diagonal": round(self.diagonal, 1),
            "smallest": [
                {
                    "contrast": contrast,
                    "width": level.width if level else None,
                    "pixels": round(level.width * self.diagonal, 2) if level else None,
                }
                for contrast, level in smallest.items()
            ],
            "levels": [vars(level) | {"recall": round(level.recall, 5)} for level in self.levels],
            "params": self.params.model_dump(),
        }


def lower_bound(found: int, trials: int, confidence: float) -> float:
    """One-sided bound of a share (Clopper and Pearson 1934)."""
    return float(beta.ppf(1 - confidence, found, trials - found + 1)) if found else 0.0


def decide_by(inspector: Inspector) -> Decide:
    """What the checkpoint answers, threshold and all."""

    def decide(photos: Sequence[Pixels]) -> NDArray[np.bool_]:
        views = np.stack([make_views(p, inspector.manifest.preprocess) for p in photos])
        verdicts = [inspector.postprocess(logits) for logits in inspector.forward(views)]
        return np.array([verdict.pred == LABELS[SCRATCHES] for verdict in verdicts])

    return decide


def measure(files: Sequence[Path], decide: Decide, params: LimitsParams) -> Limits:
    """`files` are clean photos. Raises ImageError for one that cannot be read, ValueError when
    there is none, or none that `decide` sees as clean."""
    if not files:
        raise ValueError("there are no clean photos to draw on")
    photos = _Photos(files)
    alarms = [bool(decide([photo])[0]) for photo in photos]
    clean = [number for number, alarm in enumerate(alarms) if not alarm][: params.trials]
    if not clean:
        raise ValueError(f"the model sees scratches on all {len(files)} clean photos")
    each = -(-params.trials // len(clean))
    found = np.zeros((len(params.contrasts), len(params.widths)), int)
    with Progress(transient=True) as progress:
        for number in progress.track(clean, description="scratches"):
            found += _found(photos[number], photos.seeds[number], decide, params, each)
    trials = each * len(clean)
    return Limits(
        params=params,
        photos=len(files),
        false_alarms=sum(alarms),
        diagonal=float(np.median(photos.diagonals)),
        levels=tuple(
            Level(width, contrast, count, trials, lower_bound(count, trials, params.confidence))
            for contrast, counts in zip(params.contrasts, found.tolist(), strict=True)
            for width, count in zip(params.widths, counts, strict=True)
        ),
    )


class _Photos:
    """Decoded one at a time, in an order of their contents: many photos fill any memory."""

    def __init__(self, files: Sequence[Path]) -> None:
        by_content = {hashlib.sha256(f.read_bytes()).hexdigest(): f for f in files}
        self._files = [by_content[content] for content in sorted(by_content)]
        self.seeds = [int(content[:16], 16) for content in sorted(by_content)]
        self.diagonals: list[float] = []

    def __getitem__(self, number: int) -> Pixels:
        limits = ImageLimits()
        return decode(
            self._files[number].read_bytes(),
            min_side=_FULL_SIZE,
            max_pixels=limits.max_pixels,
            max_side=limits.max_side,
        )

    def __iter__(self) -> Iterator[Pixels]:
        for number in range(len(self._files)):
            photo = self[number]
            self.diagonals.append(_diagonal(photo))
            yield photo


def _diagonal(photo: Pixels) -> float:
    return float(np.hypot(*photo.shape[:2]))


def _found(
    photo: Pixels, seed: int, decide: Decide, params: LimitsParams, each: int
) -> NDArray[np.int64]:
    """Counts [contrasts, widths] of the scratches that are seen on one photo."""
    found = np.zeros((len(params.contrasts), len(params.widths)), int)
    for row, contrast in enumerate(params.contrasts):
        for column, width in enumerate(params.widths):
            spec = ScratchSpec(
                width=width * _diagonal(photo), contrast=contrast, length=params.length
            )
            for start in range(0, each, _BATCH):
                trials = range(start, min(start + _BATCH, each))
                drawn = [scratched(photo, spec, (params.seed, seed, trial)) for trial in trials]
                found[row, column] += int(decide(drawn).sum())
    return found


def scratched(photo: Pixels, spec: ScratchSpec, seed: tuple[int, ...]) -> Pixels:
    """A copy with one scratch; place and path follow from `seed` alone, not from its width."""
    rng = np.random.default_rng(seed)
    height, width = photo.shape[:2]
    reach = spec.length * min(height, width)
    side = min(int(_PATCH * reach) + 1, height, width)
    top, left = (int(rng.integers(0, whole - side + 1)) for whole in (height, width))
    patch = np.s_[top : top + side, left : left + side]
    # Drawing takes memory many times that of what is drawn on: the patch alone.
    inside = ScratchSpec(**vars(spec) | {"length": reach / side})
    copy = photo.copy()
    copy[patch], _ = draw_scratch(photo[patch], rng, inside, (0.5, 0.5))
    return copy
