"""A whole build with a tiny tower: what comes out opens, and names no machine."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from shared.errors import CheckpointError
from shared.model.classifier import Head
from shared.model.inspector import open_inspector
from shared.model.manifest import load_manifest
from training import certify, evaluate, export, train
from training.dataset import load_index
from training.features import Features
from training.params import Params
from training.train import Calibration, logits_of
from training.verdict import Verdict
from training.workspace import Workspace


@pytest.mark.parametrize("runtime", ["torch", "openvino"])
def test_it_opens_on_every_runtime(built: tuple[Verdict, Workspace], runtime: str) -> None:
    inspector = open_inspector(built[0].checkpoint, runtime=runtime, precision="f32")
    assert inspector.prove() < 0.02


@pytest.mark.parametrize("runtime", ["torch", "openvino"])
def test_it_serves_the_features_it_was_trained_on(
    built: tuple[Verdict, Workspace], photos: Path, runtime: str
) -> None:
    folder, work = built[0].checkpoint, built[1]
    features = Features.load(work.features)
    inspector = open_inspector(folder, runtime=runtime, precision="f32")
    expected = logits_of(Head.from_file(work.head), torch.from_numpy(features.values)).numpy()
    index = load_index(work.index)
    for image, logits in list(zip(index.images, expected, strict=True))[::7]:
        views = inspector.preprocess((photos / image.file).read_bytes())
        np.testing.assert_allclose(inspector.forward(views[None])[0], logits, atol=0.01)


def test_no_file_names_the_machine(built: tuple[Verdict, Workspace]) -> None:
    for file in built[0].checkpoint.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            for place in (b"/tmp/", b"/work/", b"/home/", b"site-packages", bytes(Path.cwd())):
                assert place not in content, (file, place)


def test_the_manifest_says_what_it_was_trained_on(built: tuple[Verdict, Workspace]) -> None:
    manifest = load_manifest(built[0].checkpoint)
    assert manifest.data["images"] == 32
    assert manifest.metrics.keys() >= {"auroc", "accuracy", "ece"}


def test_it_decides_at_the_threshold_that_training_chose(
    built: tuple[Verdict, Workspace], params: Params, tmp_path: Path
) -> None:
    folder, work = built[0].checkpoint, built[1]
    calibration = Calibration.model_validate_json(work.calibration.read_text())
    other = Workspace(shutil.copytree(work.root, tmp_path / "work"))
    other.calibration.write_text(
        calibration.model_copy(update={"threshold": 0.25}).model_dump_json()
    )
    (tmp_path / "out").mkdir()
    assert load_manifest(folder).threshold == calibration.threshold
    assert export.export(tmp_path / "out", params.export, other)[0].threshold == 0.25


def test_the_report_tells_the_limits_too(
    built: tuple[Verdict, Workspace], params: Params, tmp_path: Path
) -> None:
    work = Workspace(shutil.copytree(built[1].root, tmp_path / "work"))
    train.run(params.train, work)
    certify.run(params.certify, work)
    evaluate.run(params.evaluate, work)
    made = (work.plots / "limits.csv").exists()  # not where random weights alarm on every photo
    assert ("The smallest scratch" in work.report.read_text()) == made


def test_the_same_inputs_give_the_same_checkpoint(
    built: tuple[Verdict, Workspace], params: Params, tmp_path: Path
) -> None:
    folder, work = built[0].checkpoint, built[1]
    again = export.run(params.export, work, tmp_path)
    assert load_manifest(again) == load_manifest(folder)


def test_a_wrong_export_replaces_nothing(
    built: tuple[Verdict, Workspace], params: Params, tmp_path: Path
) -> None:
    standing = tmp_path / "tiny" / "what worked"
    standing.parent.mkdir()
    standing.touch()
    unprovable = params.export.model_copy(update={"tolerance": {"bf16": 1.0}})
    with pytest.raises(CheckpointError, match="tolerance"):
        export.run(unprovable, built[1], tmp_path)
    assert list(tmp_path.rglob("*")) == [standing.parent, standing]
