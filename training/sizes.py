"""Larger views, tried beside the size that was asked for where the photos have the pixels.

Thin scratches vanish in small views; large ones cost time in service. What pays is decided by
cross-validation, never by a test photo.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.metrics import roc_auc_score

from shared.model.labels import SCRATCHES
from training import embed
from training.dataset import Index
from training.features import Features
from training.params import EmbedParams
from training.ridge import Labels, Learned
from training.workspace import Workspace

#: photos whose size is looked up
_SAMPLE = 64


@dataclass(frozen=True)
class Look:
    """All photos at one size of view, and where that was made."""

    size: int
    table: Features
    work: Workspace


def adopt(looks: Sequence[Look], best: int) -> Features:
    """Makes extractor and features of this size those of the run, and clears the others away."""
    first, chosen = looks[0], looks[best]
    if chosen is not first:
        shutil.rmtree(first.work.extractor)
        shutil.copytree(chosen.work.extractor, first.work.extractor)
        shutil.copyfile(chosen.work.features, first.work.features)
    for other in looks[1:]:
        shutil.rmtree(other.work.root)
    return chosen.table


def compared(
    looks: Sequence[Look], best: int, learned: Sequence[Learned], labels: Labels
) -> str | None:
    """What was compared, and what it costs; None where there was no choice."""
    if len(looks) == 1:
        return None
    aurocs = (roc_auc_score(labels == SCRATCHES, one.margins) for one in learned)
    tried = ", ".join(
        f"{auroc:.3f} at {look.size} pixels" for auroc, look in zip(aurocs, looks, strict=True)
    )
    cost = (looks[best].size / looks[0].size) ** 2
    says = f"at {cost:.1f} times the tower's work" if best else "more does not pay beyond noise"
    return f"Views: AUROC by cross-validation {tried}. It looks at {looks[best].size}; {says}."


def embed_all(
    params: EmbedParams, finer: Sequence[int], work: Workspace, base: Path | None, index: Index
) -> list[Look]:
    """The size that is asked for, and those of `finer` that could show more of these photos."""
    sizes = (params.preprocess.size, *(s for s in finer if s <= _side(index)))
    looks: list[Look] = []
    for size in sizes:
        place = Workspace(work.root / str(size), cache=work.cache) if looks else work
        place.root.mkdir(exist_ok=True)
        preprocess = params.preprocess.model_copy(update={"size": size})
        chosen = params.model_copy(update={"preprocess": preprocess})
        look = Look(size, embed.run(chosen, place, index, base), place)
        if not looks or np.array_equal(look.table.sha256, looks[0].table.sha256):
            looks.append(look)  # else a photo broke in between
    return looks


def _side(index: Index) -> float:
    """The longer side of the median photo, in pixels."""
    sides = []
    for image in sorted(index.images, key=lambda image: image.sha256)[:_SAMPLE]:
        with Image.open(index.root / image.file) as opened:
            sides.append(max(opened.size))
    return float(np.median(sides))
