"""For sets too small to set photos aside: learn from all, and judge by repeated cross-validation.

Nested: each fold makes every choice among its own training photos, so that a photo that is judged
has had no part in any.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from training.features import Features
from training.measures import measure
from training.params import EvaluateParams, TrainParams
from training.ridge import Learned, Photos, choose
from training.train import calibrated, probabilities_of, save
from training.workspace import Workspace

#: test photos of the smaller class below which a split says too little
FEWEST_TEST = 20
_FOLDS = 5
#: of the whole procedure, each with other folds; larger sets vary less and take longer
_REPEATS = 3
_LARGE = 500
_log = logging.getLogger(__name__)


def too_few(features: Features) -> bool:
    _, labels = features.of("test")
    return bool(np.bincount(labels, minlength=2).min() < FEWEST_TEST)


def judge(candidates: Sequence[Photos], params: TrainParams) -> NDArray[np.float64]:
    """Probabilities of scratches [repeats, images], each by a head that has not seen the image."""
    photos = candidates[0]
    count = len(photos.labels)
    repeats = _REPEATS if count <= _LARGE else 1
    probabilities = np.zeros((repeats, count))
    folds = [
        (repeat, rows, judged)
        for repeat in range(repeats)
        for rows, judged in photos.folds(_FOLDS, params.seed + 1 + repeat)
    ]
    for repeat, rows, judged in track(folds, "cross-validating", transient=True):
        best, learned = choose([c.part(rows) for c in candidates], params.ridge, params.seed)
        values = candidates[best].values[judged]
        probabilities[repeat, judged] = probabilities_of(learned[best].head, values, 1)
    return probabilities


def run(
    params: TrainParams,
    evaluation: EvaluateParams,
    work: Workspace,
    candidates: Sequence[Photos],
    learned: Learned,
) -> None:
    """Takes the place of the stages `train` and `evaluate`.

    `candidates` are all photos, at every size of view that was tried; `learned` of the best.
    """
    labels = candidates[0].labels
    head, calibration = calibrated(learned, labels, params)
    save(head, calibration, work)
    each = [
        measure(p, labels, calibration.threshold, evaluation.bins)
        for p in judge(candidates, params)
    ]
    metrics = {name: round(float(np.mean([m[name] for m in each])), 5) for name in each[0]}
    metrics |= {"threshold": round(calibration.threshold, 5), "images": float(len(labels))}
    work.metrics.write_text(json.dumps(metrics, indent=1) + "\n")
    _log.info("%s", metrics)
