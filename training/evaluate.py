"""Stage `evaluate`: how good the model is on photos that no stage learned or chose from.

Reads head, temperature and threshold as `train` left them; decides nothing itself.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from shared.model.classifier import Head
from shared.model.decode import Pixels
from shared.model.labels import LABELS, NO_SCRATCHES, SCRATCHES
from shared.model.manifest import Certificate
from shared.model.reference import Reference
from shared.model.views import make_views
from training import curves
from training.dataset import Index, load_index
from training.extractor import read_spec
from training.features import Features
from training.judged import Judged, slices
from training.limits import Decide, Limits
from training.limits import measure as measure_limits
from training.measures import Interval, intervals, measure, share_interval
from training.params import EvaluateParams, LimitsParams
from training.report import write_report
from training.ruled import rule_all
from training.train import Calibration, probabilities_of
from training.workspace import Workspace, stage_parser, start

#: shares of photos: their intervals are exact, the others' are bootstrapped
_SHARES = ("accuracy", "recall", "specificity", "precision")
_log = logging.getLogger(__name__)


def judge(features: Features, index: Index, head: Head, temperature: float) -> Judged:
    values, labels = features.of("test")
    names = {image.sha256: image.file for image in index.images}
    files = (names[content] for content in features.sha256[features.splits == "test"].tolist())
    return Judged(tuple(files), probabilities_of(head, values, temperature), labels)


def measured(
    judged: Judged, threshold: float, params: EvaluateParams
) -> tuple[dict[str, float], dict[str, Interval]]:
    """The numbers, and the interval of each."""
    statistics = partial(measure, threshold=threshold, bins=params.bins)
    found = statistics(judged.probabilities, judged.labels)
    ranges = intervals(judged.probabilities, judged.labels, statistics, params.resamples)
    predicted, truth = judged.probabilities >= threshold, judged.labels == SCRATCHES
    over = {
        "accuracy": np.ones_like(truth),
        "recall": truth,
        "specificity": ~truth,
        "precision": predicted,
    }
    for name in _SHARES:
        if over[name].any():
            right = int((predicted == truth)[over[name]].sum())
            ranges[name] = share_interval(right, int(over[name].sum()))
    return found, ranges


def limits_of(index: Index, decide: Decide, params: LimitsParams) -> Limits | None:
    """On the test split's clean photos; None where the model sees scratches on all of them."""
    clean = [i for i in index.images if i.split == "test" and i.label == LABELS[NO_SCRATCHES]]
    chosen = sorted(clean, key=lambda image: image.sha256)[: params.trials]
    try:
        return measure_limits([index.root / image.file for image in chosen], decide, params)
    except ValueError as error:
        _log.warning("no limits: %s", error)
        return None


def _decide(work: Workspace, head: Head, calibration: Calibration) -> Decide:
    from training.tower import load_extractor  # open_clip takes seconds

    spec = read_spec(work.extractor)
    extractor = load_extractor(work.extractor, spec)

    def decide(photos: Sequence[Pixels]) -> NDArray[np.bool_]:
        views = np.stack([make_views(photo, spec.preprocess) for photo in photos])
        with torch.inference_mode():
            values = extractor(torch.from_numpy(views)).numpy()
        return probabilities_of(head, values, calibration.temperature) >= calibration.threshold

    return decide


def _unlike(work: Workspace) -> NDArray[np.bool_]:
    """Of each test photo, whether it is unlike the photos of the reference, if there is one."""
    values, _ = Features.load(work.features).of("test")
    if not work.reference.exists():
        return np.zeros(len(values), np.bool_)
    reference = Reference.load(work.reference)
    return np.array([reference.place(row).unlike for row in values])


def run(params: EvaluateParams, work: Workspace) -> dict[str, float]:
    calibration = Calibration.model_validate_json(work.calibration.read_text())
    head, index = Head.from_file(work.head), load_index(work.index)
    judged = judge(Features.load(work.features), index, head, calibration.temperature)
    found, ranges = measured(judged, calibration.threshold, params)
    limits = (
        limits_of(index, _decide(work, head, calibration), params.limits) if params.limits else None
    )
    metrics = _flat(found, ranges, judged, calibration, limits)
    certificate = Certificate.model_validate_json(work.certificate.read_text())
    ruled = rule_all(judged, certificate, _unlike(work))
    metrics |= ruled.metrics()
    work.metrics.write_text(json.dumps(metrics, indent=1) + "\n")
    _write_tables(work, judged, calibration, params, limits)
    write_report(
        work.report,
        title=index.root.name,
        judged=judged,
        metrics=found,
        ranges=ranges,
        calibration=calibration,
        limits=limits,
        ruled=ruled,
        slices=slices(judged, calibration.threshold),
        root=index.root,
        params=params,
    )
    _log.info("%s", {name: metrics[name] for name in found})
    return metrics


def _flat(
    found: dict[str, float],
    ranges: dict[str, Interval],
    judged: Judged,
    calibration: Calibration,
    limits: Limits | None,
) -> dict[str, float]:
    """As the manifest and `dvc metrics` keep them."""
    metrics: dict[str, float] = dict(found)
    for name, (low, high) in ranges.items():
        metrics |= {f"{name}_low": low, f"{name}_high": high}
    metrics["threshold"] = calibration.threshold
    for contrast in limits.params.contrasts if limits else ():
        level = limits.smallest(contrast) if limits else None
        if level:
            metrics[f"smallest_width_{contrast:g}"] = level.width
    rounded = {name: round(value, 5) for name, value in metrics.items()}
    return rounded | {"images": float(len(judged.labels))}


def _write_tables(
    work: Workspace,
    judged: Judged,
    calibration: Calibration,
    params: EvaluateParams,
    limits: Limits | None,
) -> None:
    p, labels = judged.probabilities, judged.labels
    plots = {
        "roc": curves.roc(p, labels),
        "precision_recall": curves.precision_recall(p, labels),
        "reliability": curves.reliability(p, labels, params.bins),
        "coverage": curves.coverage(p, labels),
        "confusion": curves.confusion(p, labels, calibration.threshold),
    }
    if limits:
        plots["limits"] = curves.by_width(limits)
    for name, rows in plots.items():
        curves.write_csv(work.plots / f"{name}.csv", rows)
    predictions: list[curves.Row] = [
        {"file": file, "label": LABELS[label], "prob_scratches": round(float(probability), 6)}
        for file, label, probability in zip(judged.files, labels.tolist(), p, strict=True)
    ]
    curves.write_csv(work.predictions, predictions)


def main(arguments: Sequence[str] | None = None) -> None:
    _, params, work = start(stage_parser(__doc__), arguments)
    run(params.evaluate, work)


if __name__ == "__main__":
    main()
