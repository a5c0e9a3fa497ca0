"""The report of `evaluate`: one HTML file for people, complete in itself."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray

from shared.errors import ImageError
from shared.model.decode import decode
from shared.model.labels import SCRATCHES
from shared.model.preprocess import ImageLimits
from training import charts, curves
from training.judged import Judged, Slice
from training.limits import Limits
from training.measures import Interval
from training.params import EvaluateParams
from training.ruled import Ruled
from training.train import Calibration

#: longer side of a picture, in pixels
_THUMBNAIL = 260
_MEANINGS = {
    "auroc": "AUROC: how often a scratched photo scores above a clean one",
    "average_precision": "Average precision: mean share of true alarms over all thresholds",
    "balanced_accuracy": "Balanced accuracy: mean of recall and specificity",
    "accuracy": "Accuracy: share of right answers",
    "recall": "Recall: share of the scratched photos that are found",
    "specificity": "Specificity: share of the clean photos that raise no alarm",
    "precision": "Precision: share of the alarms that are true",
    "ece": "Calibration error: mean gap between stated and true certainty",
    "brier": "Brier score: mean square error of the probability, 0 is best",
}


@dataclass(frozen=True)
class Mistake:
    file: str
    probability: float
    #: data URI; None where the photo cannot be read any more
    picture: str | None


@dataclass(frozen=True)
class Confusion:
    found: int
    missed: int
    false_alarms: int
    quiet: int


def write_report(
    path: Path,
    *,
    title: str,
    judged: Judged,
    metrics: dict[str, float],
    ranges: dict[str, Interval],
    calibration: Calibration,
    limits: Limits | None,
    ruled: Ruled,
    slices: list[Slice],
    root: Path,
    params: EvaluateParams,
) -> None:
    p, labels = judged.probabilities, judged.labels
    truth, predicted = labels == SCRATCHES, p >= calibration.threshold
    environment = Environment(
        loader=PackageLoader("training", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html").render(
        title=title,
        photos=len(labels),
        scratched=int(truth.sum()),
        numbers=[(_MEANINGS[name], value, ranges[name]) for name, value in metrics.items()],
        calibration=calibration,
        confusion=Confusion(
            found=int((truth & predicted).sum()),
            missed=int((truth & ~predicted).sum()),
            false_alarms=int((~truth & predicted).sum()),
            quiet=int((~truth & ~predicted).sum()),
        ),
        roc=charts.roc(curves.roc(p, labels)),
        precision_recall=charts.precision_recall(
            curves.precision_recall(p, labels), float(truth.mean())
        ),
        reliability=charts.reliability(curves.reliability(p, labels, params.bins)),
        ruled=ruled,
        coverage=charts.coverage(curves.coverage(p, labels), (ruled.coverage, ruled.error)),
        limits=limits,
        widths=charts.by_width(limits) if limits else None,
        slices=slices,
        misses=list(_worst(judged, truth & ~predicted, root, params.worst)),
        alarms=list(_worst(judged, ~truth & predicted, root, params.worst)),
    )
    path.write_text(page)


def _worst(judged: Judged, wrong: NDArray[np.bool_], root: Path, most: int) -> Iterator[Mistake]:
    """The surest first."""
    part = judged.where(wrong)
    for row in np.argsort(-np.abs(part.probabilities - 0.5), kind="stable")[:most].tolist():
        file = part.files[row]
        yield Mistake(file, float(part.probabilities[row]), _thumbnail(root / file))


def _thumbnail(file: Path) -> str | None:
    limits = ImageLimits()
    try:
        pixels = decode(
            file.read_bytes(),
            min_side=_THUMBNAIL,
            max_pixels=limits.max_pixels,
            max_side=limits.max_side,
        )
    except (OSError, ImageError):
        return None
    scale = min(1.0, _THUMBNAIL / max(pixels.shape[:2]))
    size = max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()
