"""What head, size of view and augmentation pay where photos are few, large, and partly mislabelled.

    python -m benchmarks.small_sets

Photos of 1.0 to 1.3 megapixels of all materials, with look-alikes; the scratched half has one
scratch of 1.5 to 5.5 pixels and a contrast of 0.15 to 0.5. Each seed draws another training set
from them, of which a share has the wrong label; all other photos judge, by their true label.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rich import print_json
from rich.progress import track
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.classifier import _CHANNELS, Array, Labels, Photos, Tower
from shared.model.classifier import Head
from shared.model.views import make_views
from training import ridge
from training.params import RidgeParams, TrainParams, load_params
from training.ridge import choose, learn
from training.synthetic import ScratchSpec, render
from training.train import Batch, calibrate, fit, logits_of

SIZES = (320, 448, 640)
_SHAPES = ((960, 1280), (1280, 960), (1024, 1024), (900, 1350))
#: which of the features of a view are means of maps
_MEANS = np.concatenate([np.arange(2 * count) < count for count in _CHANNELS])
#: margins of other photos
Judge = Callable[[Array], NDArray[np.float64]]
Learn = Callable[[Array, Labels], Judge]


def drawn(folder: Path, count: int) -> Photos:
    files = tuple(folder / "small" / f"{number:04d}.jpg" for number in range(count))
    files[0].parent.mkdir(parents=True, exist_ok=True)
    for number, file in track(list(enumerate(files)), "drawing"):
        if file.exists():
            continue
        rng = np.random.default_rng([31, number])
        size = _SHAPES[int(rng.integers(len(_SHAPES)))]
        spec = ScratchSpec(
            width=rng.uniform(1.5, 5.5),
            contrast=rng.uniform(0.15, 0.5),
            length=rng.uniform(0.12, 0.6),
            curvature=abs(float(rng.normal(0, 0.09))),
            breaks=rng.uniform(0.1, 0.5) if rng.random() < 0.4 else 0.0,
            glint=rng.uniform(0.1, 0.4) if rng.random() < 0.3 else 0.0,
        )
        scene = render(rng, scratched=number % 2 == 1, size=size, spec=spec)
        bgr = cv2.cvtColor(scene.image, cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(file), bgr, [cv2.IMWRITE_JPEG_QUALITY, 92])
    return Photos("small", files, np.arange(count) % 2)


def training_sets(
    labels: Labels, count: int, wrong: float, seeds: int
) -> Iterator[tuple[NDArray[np.int64], Labels, NDArray[np.int64]]]:
    """Rows to learn from, the labels they are given, and the rows that judge."""
    for seed in range(seeds):
        rng = np.random.default_rng(100 + seed)
        parts = [rng.permutation(np.flatnonzero(labels == n))[: count // 2] for n in (0, 1)]
        rows = np.concatenate(parts)
        given = labels[rows].copy()
        flipped = rng.permutation(len(rows))[: round(wrong * len(rows))]
        given[flipped] = 1 - given[flipped]
        yield rows, given, np.setdiff1d(np.arange(len(labels)), rows)


def photos_of(values: Array, labels: Labels, copies: int = 1) -> ridge.Photos:
    """`copies` of the same photos follow one another; no fold learns from one to judge another."""
    groups = np.tile(np.arange(len(labels) // copies), copies)
    return ridge.Photos(values, labels, groups, _MEANS)


def by_ridge(values: Array, labels: Labels, params: RidgeParams, copies: int = 1) -> Judge:
    return _margins(learn(photos_of(values, labels, copies), params, 0).head)


def by_logistic(values: Array, labels: Labels) -> Judge:
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=200))
    judge: Judge = model.fit(values, labels).decision_function
    return judge


def by_layers(values: Array, labels: Labels, params: TrainParams) -> Judge:
    """One photo in five chooses the weight decay."""
    order = np.random.default_rng(0).permutation(len(labels))
    held, rest = (
        Batch(torch.from_numpy(values[rows]), torch.from_numpy(labels[rows]))
        for rows in np.split(order, [len(order) // 5])
    )
    heads = [fit(rest, params, decay)[0] for decay in params.weight_decays]
    return _margins(min(heads, key=lambda h: calibrate(logits_of(h, held.values), held.labels)[1]))


def without_the_oddest(values: Array, labels: Labels, share: float) -> Judge:
    """Leaves out the photos whose label cross-validation finds least likely."""
    learned = learn(photos_of(values, labels), RidgeParams(), 0)
    odd = np.argsort(ridge.losses(learned.margins, labels))
    kept = np.sort(odd[: round(len(odd) * (1 - share))])
    return by_ridge(values[kept], labels[kept], RidgeParams())


def _margins(head: Head) -> Judge:
    def judge(values: Array) -> NDArray[np.float64]:
        logits = logits_of(head, torch.from_numpy(values)).double().numpy()
        margins: NDArray[np.float64] = logits[:, 1] - logits[:, 0]
        return margins

    return judge


def scores(
    values: Array, mirrored: Array | None, labels: Labels, way: Learn, options: argparse.Namespace
) -> list[float]:
    """AUROC by seed; `mirrored` photos are learned from, too."""
    found = []
    for rows, given, rest in training_sets(labels, options.train, options.wrong, options.seeds):
        seen, told = values[rows], given
        if mirrored is not None:
            seen, told = np.concatenate([seen, mirrored[rows]]), np.concatenate([given, given])
        found.append(float(roc_auc_score(labels[rest], way(seen, told)(values[rest]))))
    return found


def by_choice(tables: list[Array], labels: Labels, options: argparse.Namespace) -> list[float]:
    """As `make train`: cross-validation says which size pays."""
    found = []
    for rows, given, rest in training_sets(labels, options.train, options.wrong, options.seeds):
        best, learned = choose([photos_of(t[rows], given) for t in tables], RidgeParams(), 0)
        found.append(
            float(roc_auc_score(labels[rest], _margins(learned[best].head)(tables[best][rest])))
        )
    return found


def mirrored(tower: Tower, photos: Photos, work: Path) -> Array:
    kept = work / "small-mirrored.npy"
    if not kept.exists():
        spec = tower.spec(1, 0)
        rows = [
            tower(
                make_views(cv2.cvtColor(cv2.flip(cv2.imread(str(f)), 1), cv2.COLOR_BGR2RGB), spec)
            )[0]
            for f in track(photos.files, "mirrored")
        ]
        np.save(kept, np.stack(rows))
    found: Array = np.load(kept)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path(".data/classifier"))
    parser.add_argument("--photos", type=int, default=700)
    parser.add_argument("--train", type=int, default=168, help="photos to learn from")
    parser.add_argument("--wrong", type=float, default=0.1, help="share of wrong labels")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--out", type=Path, default=Path(".data/small_sets.json"))
    options = parser.parse_args()
    cv2.setNumThreads(1)
    params = load_params(Path("params.yaml"))
    options.work.mkdir(parents=True, exist_ok=True)
    photos = drawn(options.work, options.photos)
    labels, towers = photos.labels, {s: Tower(params.embed, s, options.work) for s in SIZES}
    tables = {size: tower.features(photos, 1)[:, 0] for size, tower in towers.items()}
    fixed = RidgeParams(penalties=(1,), mean_weights=(1,))
    ways: dict[str, Learn] = {
        "two layers": partial(by_layers, params=params.train),
        "one layer": partial(by_layers, params=params.train.model_copy(update={"hidden": 0})),
        "logistic, C=0.01": by_logistic,
        "ridge, penalty 1": partial(by_ridge, params=fixed),
        "ridge, cross-validated": partial(by_ridge, params=RidgeParams()),
        "the same without the oddest tenth": partial(without_the_oddest, share=0.1),
    }
    found = {
        f"{name}, {size}": scores(tables[size], None, labels, way, options)
        for name, way in ways.items()
        for size in SIZES
    }
    flips = mirrored(towers[320], photos, options.work)
    found["ridge, cross-validated, mirrored too, 320"] = scores(
        tables[320], flips, labels, partial(by_ridge, params=RidgeParams(), copies=2), options
    )
    found["make train: 320 or 448"] = by_choice([tables[320], tables[448]], labels, options)
    found["make train: 320, 448 or 640"] = by_choice(list(tables.values()), labels, options)
    first = np.array(found["two layers, 320"])
    told = {
        name: {
            "mean": round(float(np.mean(values)), 4),
            "deviation": round(float(np.std(values)), 4),
            "gain": round(float(np.mean(values - first)), 4),
            "its standard error": round(float(np.std(values - first) / len(first) ** 0.5), 4),
        }
        for name, values in found.items()
    }
    options.out.write_text(json.dumps(told, indent=1))
    print_json(data=told)


if __name__ == "__main__":
    main()
