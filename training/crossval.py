"""For sets too small to set photos aside: learn from all, and judge by repeated cross-validation.

Nested: each fold chooses weight decay and temperature among its own training photos, so that a
photo that is judged has had no part in any choice.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from sklearn.model_selection import StratifiedGroupKFold

from shared.model.classifier import Head
from shared.model.labels import SCRATCHES
from training.dataset import Index
from training.features import Features
from training.measures import measure
from training.params import EvaluateParams, TrainParams
from training.threshold import choose_threshold
from training.train import Batch, Calibration, calibrate, fit, logits_of, probabilities_of, save
from training.workspace import Workspace

#: test photos of the smaller class below which a split says too little
FEWEST_TEST = 20
_FOLDS = 5
_INNER_FOLDS = 3
#: of the whole procedure, each with other folds; larger sets vary less and take longer
_REPEATS = 3
_LARGE = 500
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Set:
    batch: Batch
    groups: NDArray[np.int64]

    def part(self, rows: NDArray[np.int64]) -> _Set:
        kept = torch.from_numpy(rows)
        return _Set(Batch(self.batch.values[kept], self.batch.labels[kept]), self.groups[rows])

    def folds(self, count: int, seed: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Rows to learn from, and rows to judge; near-duplicates on one side."""
        splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
        labels = self.batch.labels.numpy()
        yield from splitter.split(np.zeros(len(labels)), labels, self.groups)


def too_few(features: Features) -> bool:
    _, labels = features.of("test")
    return bool(np.bincount(labels, minlength=2).min() < FEWEST_TEST)


def learn(everything: _Set, params: TrainParams) -> tuple[Head, Calibration]:
    """A head from all of the set; weight decay and temperature from its own inner folds.

    Of one layer: with few photos a second one only harms (measured: docs/classifier.md).
    """
    params = params.model_copy(update={"hidden": 0})
    tried = []
    for decay in params.weight_decays:
        logits = torch.zeros((len(everything.batch.labels), 2))
        for rows, judged in everything.folds(_INNER_FOLDS, params.seed):
            head, _ = fit(everything.part(rows).batch, params, decay)
            logits[judged] = logits_of(head, everything.batch.values[judged])
        tried.append((*calibrate(logits, everything.batch.labels), decay, logits))
    temperature, loss, decay, logits = min(tried, key=lambda candidate: candidate[1])
    found = torch.softmax(logits.double() / temperature, 1)[:, SCRATCHES].numpy()
    head, losses = fit(everything.batch, params, decay)
    return head, Calibration(
        temperature=temperature,
        threshold=choose_threshold(found, everything.batch.labels.numpy(), params.threshold),
        weight_decay=decay,
        validation_loss=loss,
        losses=tuple(losses),
    )


def judge(everything: _Set, params: TrainParams) -> NDArray[np.float64]:
    """Probabilities of scratches [repeats, images], each by a head that has not seen the image."""
    count = len(everything.batch.labels)
    repeats = _REPEATS if count <= _LARGE else 1
    probabilities = np.zeros((repeats, count))
    folds = [
        (repeat, rows, judged)
        for repeat in range(repeats)
        for rows, judged in everything.folds(_FOLDS, params.seed + 1 + repeat)
    ]
    for repeat, rows, judged in track(folds, "cross-validating", transient=True):
        head, calibration = learn(everything.part(rows), params)
        values = everything.batch.values[judged].numpy()
        probabilities[repeat, judged] = probabilities_of(head, values, calibration.temperature)
    return probabilities


def run(params: TrainParams, evaluation: EvaluateParams, work: Workspace, index: Index) -> None:
    """Takes the place of the stages `train` and `evaluate`."""
    features = Features.load(work.features)
    by_content = {image.sha256: image.group for image in index.images}
    groups = np.array([by_content[content] for content in features.sha256.tolist()])
    batch = Batch(torch.from_numpy(features.values), torch.from_numpy(features.labels))
    everything = _Set(batch, groups)
    head, calibration = learn(everything, params)
    save(head, calibration, work)
    each = [
        measure(p, features.labels, calibration.threshold, evaluation.bins)
        for p in judge(everything, params)
    ]
    metrics = {name: round(float(np.mean([m[name] for m in each])), 5) for name in each[0]}
    metrics |= {"threshold": round(calibration.threshold, 5), "images": float(len(groups))}
    work.metrics.write_text(json.dumps(metrics, indent=1) + "\n")
    _log.info("%s", metrics)
