"""Is the candidate better than the champion, beyond noise? Both judge the same test images.

Each as a worker would serve it. One question is asked, once: is each right where the other is wrong
equally often (McNemar's exact test)? The intervals, from resampling the images in pairs, say how
much is at stake.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from rich.progress import track
from scipy.stats import rankdata

from shared.comparison import ALPHA, Pairs
from shared.model.inspector import Inspector
from shared.model.labels import LABELS, SCRATCHES

#: a gain in accuracy below this is none worth a change
WORTH = 0.01
_RESAMPLES = 1000

Interval = tuple[float, float]
Decision = Literal["better", "not better", "not enough evidence"]
Answers = tuple[NDArray[np.float64], NDArray[np.bool_]]


class Comparison(BaseModel):
    """Differences are candidate minus champion; intervals hold the truth 95 % of the time."""

    model_config = ConfigDict(frozen=True)

    champion: str
    candidate: str
    images: int
    accuracy: tuple[float, float]
    auroc: tuple[float, float]
    accuracy_gain: Interval
    auroc_gain: Interval
    champion_only: int
    candidate_only: int
    p_value: float
    decision: Decision


def test_split(index: Path) -> tuple[list[Path], list[str]]:
    """Files and labels of the test split, from the index that the pipeline wrote."""
    found = json.loads(index.read_text())
    images = [image for image in found["images"] if image["split"] == "test"]
    return [Path(found["root"], i["file"]) for i in images], [i["label"] for i in images]


def compare(
    champion: Inspector, candidate: Inspector, images: Sequence[Path], labels: Sequence[str]
) -> Comparison:
    """`labels` as in LABELS, one an image; both must occur. Raises ImageError."""
    truth = np.array([LABELS.index(label) for label in labels]) == SCRATCHES
    found = [_judge(model, images, truth) for model in (champion, candidate)]
    (before, right_before), (after, right_after) = found
    pairs = Pairs.of(zip(right_before.tolist(), right_after.tolist(), strict=True))
    accuracy_gain = _interval(
        truth, lambda rows: float(right_after[rows].mean() - right_before[rows].mean())
    )
    auroc_gain = _interval(
        truth, lambda rows: _auroc(truth, after, rows) - _auroc(truth, before, rows)
    )
    everything = np.arange(len(truth))
    return Comparison(
        champion=champion.manifest.title,
        candidate=candidate.manifest.title,
        images=len(truth),
        accuracy=(float(right_before.mean()), float(right_after.mean())),
        auroc=(_auroc(truth, before, everything), _auroc(truth, after, everything)),
        accuracy_gain=accuracy_gain,
        auroc_gain=auroc_gain,
        champion_only=pairs.champion_only,
        candidate_only=pairs.challenger_only,
        p_value=pairs.p_value,
        decision=decide(pairs, accuracy_gain, auroc_gain),
    )


def decide(pairs: Pairs, accuracy_gain: Interval, auroc_gain: Interval) -> Decision:
    """A candidate that ranks worse beyond noise is never better, whatever its threshold wins."""
    if auroc_gain[1] < 0:
        return "not better"
    if pairs.p_value < ALPHA:
        return "better" if pairs.challenger_only > pairs.champion_only else "not better"
    # The images suffice to say "no" where even the best that they allow is not worth a change.
    return "not better" if accuracy_gain[1] < WORTH else "not enough evidence"


def _judge(model: Inspector, images: Sequence[Path], truth: NDArray[np.bool_]) -> Answers:
    """Probabilities of scratches, and whether each verdict was right."""
    verdicts = [
        model.inspect(image.read_bytes())
        for image in track(images, description=model.manifest.title, transient=True)
    ]
    probabilities = np.array([verdict.prob_scratches for verdict in verdicts])
    said = np.array([verdict.pred == LABELS[SCRATCHES] for verdict in verdicts])
    return probabilities, said == truth


def _auroc(truth: NDArray[np.bool_], probabilities: NDArray[np.float64], rows: Any) -> float:
    """By ranks (Mann and Whitney): thousands of resamples would take scikit-learn a minute."""
    positive = truth[rows]
    count = int(positive.sum())
    ranks = rankdata(probabilities[rows])[positive].sum() - count * (count + 1) / 2
    return float(ranks / (count * (len(positive) - count)))


def _interval(truth: NDArray[np.bool_], statistic: Callable[[Any], float]) -> Interval:
    """Stratified bootstrap: images are drawn anew within each class, both models on the same."""
    random = np.random.default_rng(0)
    classes = [np.flatnonzero(truth == kind) for kind in (False, True)]
    found = [
        statistic(np.concatenate([random.choice(rows, len(rows)) for rows in classes]))
        for _ in range(_RESAMPLES)
    ]
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high)


def as_markdown(found: Comparison) -> str:
    """The report of a pull request."""

    def row(name: str, values: tuple[float, float], gain: Interval) -> str:
        return f"| {name} | {values[0]:.4f} | {values[1]:.4f} | {gain[0]:+.4f} to {gain[1]:+.4f} |"

    return "\n".join(
        [
            f"# Retraining: {found.decision}",
            "",
            f"`{found.candidate}` against `{found.champion}`, on the same {found.images} test "
            "images, each as a worker would serve it.",
            "",
            "| | champion | candidate | difference, 95 % |",
            "| --- | --- | --- | --- |",
            row("accuracy", found.accuracy, found.accuracy_gain),
            row("AUROC", found.auroc, found.auroc_gain),
            "",
            f"Only the champion was right on {found.champion_only} images, only the candidate on "
            f"{found.candidate_only}: McNemar's exact p = {found.p_value:.3g}.",
            "",
            _ADVICE[found.decision].format(candidate=found.candidate.split("@")[0]),
            "",
            "The candidate has learned from none of these images. The champion may have, if the "
            "data was split otherwise when it was trained; that can only favour the champion.",
            "",
        ]
    )


_ADVICE: dict[Decision, str] = {
    "better": "Better beyond noise. To serve it: `scratch promote {candidate}`.",
    "not better": "Not better: the champion stays.",
    "not enough evidence": "These images cannot tell; the champion stays. More labelled photos, "
    "or a shadow on real traffic (`scratch ab start {candidate} --shadow`), could.",
}
