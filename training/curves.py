"""What the plots show, as rows: for DVC as CSV, for the report as pictures."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.metrics import precision_recall_curve, roc_curve

from shared.model.labels import LABELS, SCRATCHES
from training.limits import Limits
from training.measures import Floats, Labels, share_interval

Row = dict[str, float | int | str]
#: enough for any eye
_POINTS = 400


def roc(probabilities: Floats, labels: Labels) -> list[Row]:
    false_alarms, recall, _ = roc_curve(labels == SCRATCHES, probabilities)
    return _rows(false_alarm_rate=false_alarms, recall=recall)


def precision_recall(probabilities: Floats, labels: Labels) -> list[Row]:
    precision, recall, _ = precision_recall_curve(labels == SCRATCHES, probabilities)
    return _rows(recall=recall[::-1], precision=precision[::-1])


def reliability(probabilities: Floats, labels: Labels, bins: int) -> list[Row]:
    """Of the photos that were given about this probability, how many are scratched."""
    which = np.minimum((probabilities * bins).astype(int), bins - 1)
    rows: list[Row] = []
    for number in np.unique(which):
        inside = which == number
        scratched = int((labels[inside] == SCRATCHES).sum())
        low, high = share_interval(scratched, int(inside.sum()))
        rows.append(
            {
                "probability": round(float(probabilities[inside].mean()), 5),
                "scratched": round(scratched / int(inside.sum()), 5),
                "low": round(low, 5),
                "high": round(high, 5),
                "photos": int(inside.sum()),
            }
        )
    return rows


def coverage(probabilities: Floats, labels: Labels) -> list[Row]:
    """Errors among the photos that are answered, when the least sure are left to a person.

    The risk-coverage curve (El-Yaniv and Wiener 2010, JMLR 11).
    """
    order = np.argsort(-np.abs(probabilities - 0.5), kind="stable")
    wrong = ((probabilities >= 0.5) != (labels == SCRATCHES))[order]
    answered = np.arange(1, len(order) + 1)
    return _rows(coverage=answered / len(order), error=np.cumsum(wrong) / answered)


def confusion(probabilities: Floats, labels: Labels, threshold: float) -> list[Row]:
    """A row a photo, as DVC's confusion template wants it."""
    predicted = (probabilities >= threshold).astype(int)
    return [
        {"actual": LABELS[truth], "predicted": LABELS[answer]}
        for truth, answer in zip(labels.tolist(), predicted.tolist(), strict=True)
    ]


def by_width(limits: Limits) -> list[Row]:
    return [
        {
            "width": level.width,
            "pixels": round(level.width * limits.diagonal, 3),
            "contrast": level.contrast,
            "recall": round(level.recall, 5),
            "lower_bound": round(level.lower_bound, 5),
        }
        for level in limits.levels
    ]


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _rows(**columns: Floats) -> list[Row]:
    length = len(next(iter(columns.values())))
    chosen = np.unique(np.linspace(0, length - 1, min(length, _POINTS)).astype(int))
    return [
        {name: round(float(values[index]), 5) for name, values in columns.items()}
        for index in chosen
    ]
