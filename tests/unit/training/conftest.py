"""A tower of seconds and photos of nothing: plain noise, or noise with a line across it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from shared.model.labels import LABELS
from training import crossval
from training.build import build
from training.params import Params
from training.verdict import Verdict
from training.workspace import Workspace

COUNT = 16  # of each class


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for label in LABELS:
        (root / label).mkdir()
        for number in range(COUNT):
            pixels = rng.integers(90, 140, (72, 96, 3), np.uint8)
            if label == "scratches":
                ends = [tuple(int(v) for v in rng.integers(0, 72, 2)) for _ in range(2)]
                cv2.line(pixels, ends[0], ends[1], (250, 250, 250), 3)
            cv2.imwrite(str(root / label / f"{number}.png"), pixels)
    return root


@pytest.fixture(scope="session")
def params() -> Params:
    return Params.model_validate(
        {
            "data": {"count": 20, "seed": 1},
            "prepare": {"seed": 1, "validation": 0.2, "test": 0.2, "near": 48},
            "embed": {
                "tower": {"model": "scratch-test-training", "timm": "test_efficientnet"},
                "preprocess": {"size": 64, "mean": [0.5] * 3, "std": [0.5] * 3},
                "features": {"depths": [2, 4], "embedding": True},
                "batch": 8,
            },
            "train": {
                "seed": 0,
                "hold_out": 1,
                "hidden": 8,
                "dropout": 0.1,
                "learning_rate": 0.01,
                "epochs": 10,
                "batch": 8,
                "weight_decays": [0.1, 1.0],
            },
            "evaluate": {
                "bins": 5,
                "resamples": 20,
                "limits": {"widths": [0.05], "contrasts": [0.5], "trials": 2},
            },
            "export": {"name": "tiny", "goldens": [0, 1], "tolerance": {"f32": 0.02}},
        }
    )


@pytest.fixture
def work(tmp_path: Path) -> Workspace:
    (tmp_path / "work").mkdir()
    return Workspace(tmp_path / "work", tmp_path / "images", tmp_path / "cache")


@pytest.fixture(scope="session")
def built(
    photos: Path, params: Params, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Verdict, Workspace]:
    """A checkpoint of all stages; with so few photos, judged by cross-validation."""
    root = tmp_path_factory.mktemp("build")
    work = Workspace(root / "work", cache=root / "cache")
    work.root.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(crossval, "_REPEATS", 1)
        return build(params, work, root / "ckpts", photos, cross_validate=True), work
