"""What views, size, depths, head and augmentation pay, in AUROC and in time.

    python -m benchmarks.classifier --steel ../shared/data/steel_neu --out classifier.json

Features of single views are computed once a size and kept in --work; every way of combining them
is then a matter of seconds. Times are processor time of one thread, decoding to logits, so that a
busy machine does not change them much.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import openvino as ov
import torch
from numpy.typing import NDArray
from rich import print_json
from rich.progress import track
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler

from shared.model.decode import Pixels, decode
from shared.model.labels import LABELS
from shared.model.manifest import Features as FeatureSpec
from shared.model.manifest import Preprocess
from shared.model.views import make_views, min_side
from training.embed import Features
from training.graph import to_openvino
from training.params import EmbedParams, TrainParams, load_params
from training.synthetic import ScratchSpec, render
from training.tower import load_extractor, write_extractor
from training.train import logits_of, train

Array = NDArray[np.float32]
Labels = NDArray[np.int64]
#: channels of the four pooled depths of tf_efficientnet_lite0; each gives a mean and a maximum
_CHANNELS = (24, 40, 112, 320)


@dataclass(frozen=True)
class Photos:
    name: str
    files: tuple[Path, ...]
    labels: Labels


@dataclass(frozen=True)
class Way:
    """How a photo is looked at."""

    name: str
    size: int
    grids: tuple[int, ...]
    overlap: float = 0.0
    depths: tuple[int, ...] = (1, 2, 3, 4)

    def columns(self) -> NDArray[np.int64]:
        ends = np.cumsum([0, *(2 * c for c in _CHANNELS)])
        return np.concatenate([np.arange(ends[d - 1], ends[d]) for d in self.depths])


WAYS = (
    Way("320 whole", 320, (1,)),
    Way("224 whole", 224, (1,)),
    Way("224 whole + 4 tiles", 224, (1, 2)),
    Way("320 whole + 4 tiles", 320, (1, 2)),
    Way("448 whole", 448, (1,)),
    Way("320 whole, last depth", 320, (1,), depths=(4,)),
    Way("320 whole, depths 1-2", 320, (1,), depths=(1, 2)),
    Way("320 whole, depths 2-4", 320, (1,), depths=(2, 3, 4)),
    Way("224 whole + 9 tiles", 224, (1, 3)),
    Way("224 whole + 4 tiles, overlap 0.2", 224, (1, 2), 0.2),
)


class Tower:
    """Features of views at one size, kept on disk."""

    def __init__(self, params: EmbedParams, size: int, work: Path) -> None:
        self._spec = params.preprocess.model_copy(update={"size": size, "grids": (1,)})
        chosen = params.model_copy(
            update={
                "preprocess": self._spec,
                "features": FeatureSpec(depths=(1, 2, 3, 4), embedding=False),
            }
        )
        folder = work / f"tower-{size}"
        file = folder / "graph.xml"
        if not file.exists():
            spec = write_extractor(folder, chosen)
            ov.save_model(to_openvino(load_extractor(folder, spec), self._spec), file)
        one = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
        self._request = ov.compile_model(file, "CPU", one).create_infer_request()
        self._work = work

    def __call__(self, views: Pixels) -> Array:
        """[count, size, size, 3] to [count, features]."""
        outputs = self._request.infer([np.ascontiguousarray(views[:, None])])
        return np.array(next(iter(outputs.values())), np.float32)

    def spec(self, grid: int, overlap: float) -> Preprocess:
        return self._spec.model_copy(update={"grids": (grid,), "overlap": overlap})

    def features(self, photos: Photos, grid: int, overlap: float = 0.0) -> Array:
        """[photos, views, features]."""
        spec = self.spec(grid, overlap)
        file = self._work / f"{photos.name}-{spec.size}-{grid}-{overlap}.npy"
        if not file.exists() or len(np.load(file)) < len(photos.files):
            rows = [
                self(make_views(_pixels(f, spec), spec)) for f in track(photos.files, file.stem)
            ]
            np.save(file, np.stack(rows))
        found: Array = np.load(file)[: len(photos.files)]
        return found


def _pixels(file: Path, spec: Preprocess) -> Pixels:
    return decode(file.read_bytes(), min_side=min_side(spec), max_pixels=10**9, max_side=10**5)


def combined(tower: Tower, photos: Photos, way: Way) -> Array:
    """As `FeatureExtractor.combined`."""
    views = np.concatenate(
        [tower.features(photos, grid, way.overlap if grid > 1 else 0.0) for grid in way.grids],
        1,
    )[:, :, way.columns()]
    if views.shape[1] == 1:
        return views[:, 0]
    return np.concatenate([views[:, 0], views.max(1), views.mean(1)], 1)


def steel(folder: Path) -> Photos:
    files = [(f, n) for n, label in enumerate(LABELS) for f in sorted((folder / label).iterdir())]
    return Photos("steel", tuple(f for f, _ in files), np.array([n for _, n in files]))


def rendered(folder: Path, count: int) -> Photos:
    """As the bundled checkpoint learned from."""
    return _drawn(folder, "rendered", count, (0, 0), None)


def hairlines(folder: Path, count: int) -> Photos:
    """Large photos whose scratches are 1.5 to 4 pixels wide, a 1000th of the photo."""
    return _drawn(folder, "hairlines", count, (1500, 2000), (1.5, 4))


def _drawn(
    folder: Path, name: str, count: int, size: tuple[int, int], widths: tuple[float, float] | None
) -> Photos:
    files = tuple(folder / name / f"{number:04d}.jpg" for number in range(count))
    files[0].parent.mkdir(parents=True, exist_ok=True)
    for number, file in track(list(enumerate(files)), f"drawing {name}"):
        if file.exists():
            continue
        rng = np.random.default_rng([20, number, len(name)])
        spec = widths and ScratchSpec(
            width=rng.uniform(*widths),
            contrast=rng.uniform(0.3, 0.6),
            length=rng.uniform(0.3, 0.8),
        )
        scene = render(rng, scratched=number % 2 == 1, size=size if widths else None, spec=spec)
        bgr = cv2.cvtColor(scene.image, cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(file), bgr, [cv2.IMWRITE_JPEG_QUALITY, 95])
    return Photos(name, files, np.arange(count) % 2)


def table(values: Array, labels: Labels, learn: Iterable[int]) -> Features:
    """`learn` rows split 4 to 1 into train and validation by class, the rest is the test."""
    splits = np.full(len(labels), "test", "<U10")
    rng = np.random.default_rng(0)
    chosen = np.array(list(learn))
    for label in (0, 1):
        rows = rng.permutation(chosen[labels[chosen] == label])
        held = max(1, len(rows) // 5)
        splits[rows[held:]], splits[rows[:held]] = "train", "validation"
    names = np.arange(len(labels)).astype(str)
    means = np.zeros(values.shape[1], bool)
    return Features(values, labels, splits, names, np.arange(len(labels)), means, "study")


#: values, labels and the rows to learn from, to probabilities and labels of the other rows
Judge = Callable[[Array, Labels, NDArray[np.int64]], tuple[Array, Labels]]


def by_head(params: TrainParams) -> Judge:
    """Our own training, calibrated."""

    def judge(values: Array, labels: Labels, learn: NDArray[np.int64]) -> tuple[Array, Labels]:
        features = table(values, labels, learn)
        head, calibration = train(features, params)
        rest, truth = features.of("test")
        logits = logits_of(head, torch.from_numpy(rest)) / calibration.temperature
        return torch.softmax(logits, 1)[:, 1].numpy(), truth

    return judge


def by_logistic(strength: float) -> Judge:
    """scikit-learn's logistic regression on all labelled rows, without calibration."""

    def judge(values: Array, labels: Labels, learn: NDArray[np.int64]) -> tuple[Array, Labels]:
        scaler = StandardScaler().fit(values[learn])
        model = LogisticRegression(C=strength, max_iter=300)
        model.fit(scaler.transform(values[learn]), labels[learn])
        test = np.setdiff1d(np.arange(len(labels)), learn)
        return model.predict_proba(scaler.transform(values[test]))[:, 1], labels[test]

    return judge


def folds(values: Array, labels: Labels, judge: Judge, count: int = 5) -> dict[str, float]:
    split = StratifiedKFold(count, shuffle=True, random_state=0).split(values, labels)
    scores = [
        float(roc_auc_score(truth, found))
        for learn, _ in split
        for found, truth in [judge(values, labels, learn)]
    ]
    return summary(scores)


def few(labels: Labels, each: int, seeds: int) -> Iterator[NDArray[np.int64]]:
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        yield np.concatenate([rng.permutation(np.flatnonzero(labels == n))[:each] for n in (0, 1)])


def summary(values: Sequence[float]) -> dict[str, float]:
    return {
        "mean": round(float(np.mean(values)), 4),
        "least": round(float(np.min(values)), 4),
        "deviation": round(float(np.std(values)), 4),
    }


def few_shot(
    values: Array, labels: Labels, params: TrainParams, each: int, seeds: int
) -> dict[str, object]:
    heads = {
        "two layers": by_head(params),
        "one layer": by_head(params.model_copy(update={"hidden": 0})),
        **{f"logistic, C={c:g}": by_logistic(c) for c in (1e-4, 1e-3, 1e-2, 1e-1)},
    }
    found: dict[str, object] = {}
    for name, judge in heads.items():
        scores = [_scores(*judge(values, labels, learn)) for learn in few(labels, each, seeds)]
        found[name] = {
            "auroc": summary([auroc for auroc, _ in scores]),
            "log loss": summary([loss for _, loss in scores]),
        }
    return found


def _scores(p: Array, truth: Labels) -> tuple[float, float]:
    return float(roc_auc_score(truth, p)), float(log_loss(truth, np.clip(p, 1e-6, 1 - 1e-6)))


def cost(towers: dict[int, Tower], file: Path, rounds: int = 5) -> dict[str, float]:
    """Processor milliseconds a photo, from bytes to features; ways take turns."""
    spent: dict[str, list[float]] = {}
    for _ in range(rounds):
        for way in WAYS:
            tower = towers[way.size]
            spec = tower.spec(1, way.overlap).model_copy(update={"grids": way.grids})
            start = time.process_time()
            tower(make_views(_pixels(file, spec), spec))
            spent.setdefault(way.name, []).append((time.process_time() - start) * 1000)
    return {name: round(float(np.median(times)), 1) for name, times in spent.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steel", type=Path, help="folder with scratches/ and no_scratches/")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--work", type=Path, default=Path(".data/classifier"))
    parser.add_argument("--rendered", type=int, default=300)
    parser.add_argument("--hairlines", type=int, default=160)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--out", type=Path, default=Path(".data/classifier.json"))
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)
    params = load_params(options.params)
    sizes = sorted({way.size for way in WAYS})
    towers = {size: Tower(params.embed, size, options.work) for size in sizes}
    sets = [rendered(options.work, options.rendered), hairlines(options.work, options.hairlines)]
    found: dict[str, object] = {}
    two, one = params.train, params.train.model_copy(update={"hidden": 0})
    for way in WAYS:
        row: dict[str, object] = {}
        for photos in sets:
            values = combined(towers[way.size], photos, way)
            row[photos.name] = folds(values, photos.labels, _PROBE)
        found[way.name] = row
        _tell(found, options.out)
    if options.steel:  # of 200 x 200 pixels: tiles show nothing more
        for way in WAYS[:2]:
            found[f"steel, {way.name}"] = on_steel(
                towers[way.size], way, steel(options.steel), sets[0], two, options.seeds
            )
            _tell(found, options.out)
    found["processor ms a photo of 3 megapixels"] = cost(towers, sets[1].files[0])
    _tell(found, options.out)
    for photos in sets:
        values = combined(towers[WAYS[0].size], photos, WAYS[0])
        found[f"heads on {photos.name}, {WAYS[0].name}"] = {
            "logistic": folds(values, photos.labels, _PROBE),
            "two layers": folds(values, photos.labels, by_head(two)),
            "one layer": folds(values, photos.labels, by_head(one)),
        }
        _tell(found, options.out)


#: of all ways alike: cheap, and without luck
_PROBE = by_logistic(0.003)


def _tell(found: dict[str, object], out: Path) -> None:
    out.write_text(json.dumps(found, indent=1))
    print_json(data=dict([list(found.items())[-1]]))


def on_steel(
    tower: Tower, way: Way, photos: Photos, drawn: Photos, params: TrainParams, seeds: int
) -> dict[str, object]:
    values, labels = combined(tower, photos, way), photos.labels
    learned = combined(tower, drawn, way)
    both = np.concatenate([learned, values]), np.concatenate([drawn.labels, labels])
    p, truth = _PROBE(*both, np.arange(len(learned)))
    return {
        "5 folds": folds(values, labels, _PROBE),
        "from drawn photos": round(float(roc_auc_score(truth, p)), 4),
        "16 a class": few_shot(values, labels, params, 16, seeds),
        "8 a class": few_shot(values, labels, params, 8, seeds),
    }


if __name__ == "__main__":
    main()
