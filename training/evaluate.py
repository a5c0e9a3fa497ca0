"""Stage `evaluate`: how good head and temperature are on images that no stage learned from."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from shared.model.classifier import Head
from shared.model.labels import NO_SCRATCHES, SCRATCHES
from training.embed import Features
from training.params import EvaluateParams
from training.train import Calibration, logits_of
from training.workspace import Workspace, stage_parser, start

_log = logging.getLogger(__name__)


def measure(
    probabilities: NDArray[np.float64], labels: NDArray[np.int64], bins: int
) -> dict[str, float]:
    """`probabilities` are of scratches; the decision is at one half."""
    predicted = probabilities >= 0.5
    right = predicted == (labels == SCRATCHES)
    return {
        "auroc": float(roc_auc_score(labels == SCRATCHES, probabilities)),
        "accuracy": float(right.mean()),
        "recall": float(right[labels == SCRATCHES].mean()),
        "specificity": float(right[labels == NO_SCRATCHES].mean()),
        "ece": calibration_error(np.maximum(probabilities, 1 - probabilities), right, bins),
        "images": float(len(labels)),
    }


def calibration_error(
    confidence: NDArray[np.float64], right: NDArray[np.bool_], bins: int
) -> float:
    """Mean gap between confidence and accuracy, over equal bins of confidence from 0.5 to 1."""
    which = np.minimum(((confidence - 0.5) * 2 * bins).astype(int), bins - 1)
    gaps = [
        abs(confidence[which == b].mean() - right[which == b].mean()) * (which == b).mean()
        for b in np.unique(which)
    ]
    return float(sum(gaps))


def evaluate(
    features: Features, head: Head, temperature: float, params: EvaluateParams
) -> dict[str, float]:
    values, labels = features.of("test")
    logits = logits_of(head, torch.from_numpy(values)).double()
    probabilities = torch.softmax(logits / temperature, 1)[:, SCRATCHES].numpy()
    return measure(probabilities, labels, params.bins)


def run(params: EvaluateParams, work: Workspace) -> dict[str, float]:
    calibration = Calibration.model_validate_json(work.calibration.read_text())
    head = Head.from_file(work.head)
    found = evaluate(Features.load(work.features), head, calibration.temperature, params)
    metrics = {name: round(value, 5) for name, value in found.items()}
    work.metrics.write_text(json.dumps(metrics, indent=1) + "\n")
    _log.info("%s", metrics)
    return metrics


def main(arguments: Sequence[str] | None = None) -> None:
    _, params, work = start(stage_parser(__doc__), arguments)
    run(params.evaluate, work)


if __name__ == "__main__":
    main()
