"""Larger views are tried where photos have the pixels; what pays is served, the rest cleared."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from shared.model.labels import LABELS
from shared.model.manifest import load_manifest
from training import crossval
from training.build import build
from training.params import BuildParams, Params
from training.ridge import Choice, Learned
from training.sizes import Look, compared
from training.workspace import Workspace


@pytest.fixture
def hairlines(tmp_path: Path) -> Path:
    """Photos of 128 x 128 whose fine checks are gone in a view of 64 pixels."""
    checks = (np.indices((128, 128)).sum(0) % 2 * 120 + 60).astype(np.uint8)
    rng = np.random.default_rng(0)
    for label in LABELS:
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(12):
            photo = np.full((128, 128), 120, np.uint8)
            if label == "scratches":
                photo[:, 32:96] = checks[:, 32:96]
            photo += rng.integers(0, 60, (4, 4), np.uint8).repeat(32, 0).repeat(32, 1)
            cv2.imwrite(str(tmp_path / "photos" / label / f"{number}.png"), photo)
    return tmp_path / "photos"


@pytest.fixture(scope="module")
def towers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Turning a tower into a graph takes seconds: once for all tests."""
    return tmp_path_factory.mktemp("towers")


@pytest.mark.parametrize(("finer", "served"), [((128,), 128), ((256,), 64), ((), 64)])
def test_a_size_that_pays_is_served(
    hairlines: Path,
    params: Params,
    towers: Path,
    tmp_path: Path,
    finer: tuple[int, ...],
    served: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(crossval, "_REPEATS", 1)
    work = Workspace(tmp_path / "work", cache=towers)
    work.root.mkdir()
    tried = params.model_copy(update={"build": BuildParams(finer=finer)})

    verdict = build(tried, work, tmp_path / "ckpts", hairlines, cross_validate=True)

    assert load_manifest(verdict.checkpoint).preprocess.size == served
    assert json.loads((work.extractor / "extractor.json").read_text())["preprocess"]["size"] == (
        served
    )
    assert ("Views:" in str(verdict)) == (served == 128)
    assert [place.name for place in work.root.iterdir() if place.is_dir()] == ["extractor"]


def test_what_was_compared_is_said_with_its_cost(work: Workspace) -> None:
    labels = np.array([0, 0, 1, 1])
    margins = {320: [0.0, 3, 1, 2], 448: [0.0, 1, 2, 3]}
    found = [Learned(None, Choice(1, 1), np.array(m)) for m in margins.values()]  # type: ignore[arg-type]
    looks = [Look(size, None, work) for size in margins]  # type: ignore[arg-type]

    said = compared(looks, 1, found, labels)

    assert said == (
        "Views: AUROC by cross-validation 0.500 at 320 pixels, 1.000 at 448 pixels. "
        "It looks at 448; at 2.0 times the tower's work."
    )
    assert compared(looks[:1], 0, found[:1], labels) is None
    assert "more does not pay" in (compared(looks, 0, found, labels) or "")
