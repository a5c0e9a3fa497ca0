"""What lower precision costs in answers: each as a worker gives it, from the bytes of the photos.

    python -m benchmarks.precision ckpts/scratch-lite FOLDER

FOLDER has scratches/ and no_scratches/, or none: then 1000 photos are drawn that no checkpoint saw.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich import print_json
from rich.progress import track
from sklearn.metrics import log_loss, roc_auc_score

from shared.errors import CheckpointError
from shared.images import images_in
from shared.model.inspector import Inspector, open_inspector
from shared.model.labels import LABELS, SCRATCHES
from shared.model.manifest import Precision
from training.synthetic import scene_at

_PRECISIONS: tuple[Precision, ...] = ("f32", "bf16", "int8")
_DRAWN, _SEED = 1000, 77


def photos(folder: Path | None) -> Iterator[tuple[bytes, int]]:
    """Encoded photo and label."""
    if folder:
        for number, label in enumerate(LABELS):
            for file in images_in(folder / label):
                yield file.read_bytes(), number
        return
    for index in range(_DRAWN):
        scene = scene_at(_SEED, index)
        bgr = cv2.cvtColor(scene.image, cv2.COLOR_RGB2BGR)
        yield cv2.imencode(".jpg", bgr)[1].tobytes(), LABELS.index(scene.label)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ckpt", type=Path)
    parser.add_argument("folder", type=Path, nargs="?")
    options = parser.parse_args()
    opened: dict[str, Inspector] = {}
    for precision in _PRECISIONS:
        try:
            opened[precision] = open_inspector(
                options.ckpt, runtime="openvino", precision=precision
            )
        except CheckpointError as error:
            print_json(data={precision: str(error)})
    truth, found = [], []
    for data, label in track(photos(options.folder)):
        truth.append(label)
        found.append([inspector.inspect(data).prob_scratches for inspector in opened.values()])
    labels, probabilities = np.array(truth), np.array(found)
    threshold = opened["f32"].manifest.threshold
    for column, precision in enumerate(opened):
        print_json(data={precision: row(labels, probabilities[:, [0, column]], threshold)})


def row(
    labels: NDArray[np.int64], probabilities: NDArray[np.float64], threshold: float
) -> dict[str, float]:
    """`probabilities` [photos, 2] of f32 and of the precision in question."""
    exact, found = probabilities.T
    answers = found >= threshold
    return {
        "photos": len(labels),
        "auroc": round(float(roc_auc_score(labels, found)), 4),
        "accuracy": round(float((answers == (labels == SCRATCHES)).mean()), 4),
        "log loss": round(float(log_loss(labels, np.clip(found, 1e-6, 1 - 1e-6))), 4),
        "other answers than f32": int((answers != (exact >= threshold)).sum()),
        "largest difference of a probability": round(float(np.abs(found - exact).max()), 4),
    }


if __name__ == "__main__":
    main()
