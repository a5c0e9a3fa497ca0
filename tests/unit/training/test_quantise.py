"""int8 is made on training photos, measured on others, and shipped only within the gate."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from shared.model.inspector import open_inspector
from shared.model.manifest import load_manifest
from shared.model.reference import Reference
from training import certify, export, train
from training.params import CertifyParams, ExportParams, Params
from training.verdict import Verdict
from training.workspace import Workspace

#: of NNCF and what it imports
pytestmark = pytest.mark.filterwarnings("default")


def asked(params: Params, gate: float) -> ExportParams:
    changed = params.export.model_dump() | {
        "int8": {"auroc": gate, "accuracy": gate, "images": 8},
        "tolerance": {"f32": 0.02, "int8": 5.0},
    }
    return ExportParams.model_validate(changed)


def test_within_the_gate_it_is_shipped_and_answers_nearly_the_same(
    built: tuple[Verdict, Workspace], params: Params, tmp_path: Path
) -> None:
    folder = export.run(asked(params, 1.0), built[1], tmp_path)
    assert load_manifest(folder).openvino == {"f32": "model-f32.xml", "int8": "model-int8.xml"}
    report = json.loads(built[1].exported.read_text())
    assert report["int8"]["shipped"]
    assert report["golden_difference"].keys() == {"openvino_f32", "openvino_int8"}
    exact, coarse = (
        open_inspector(folder, runtime="openvino", precision=precision)
        for precision in ("f32", "int8")
    )
    views = np.random.default_rng(0).integers(90, 140, (4, 1, 64, 64, 3), np.uint8)
    difference = np.abs(exact.forward(views) - coarse.forward(views)).max()
    assert 0 < difference < 2  # another graph, and nearly the same answers


def test_beyond_the_gate_it_is_left_out(
    built: tuple[Verdict, Workspace],
    params: Params,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = iter([(1.0, 1.0), (0.9, 0.9)] * 2)  # f32, int8; on validation, then on test
    monkeypatch.setattr("training.quantise._quality", lambda *_: next(found))
    folder = export.run(asked(params, 0.05), built[1], tmp_path)
    assert load_manifest(folder).openvino == {"f32": "model-f32.xml"}
    assert not (folder / "model-int8.xml").exists()
    assert json.loads(built[1].exported.read_text())["int8"]["validation"]["auroc"] == 0.1


def test_what_is_shipped_promises_by_its_own_answers(
    built: tuple[Verdict, Workspace], params: Params, tmp_path: Path
) -> None:
    work = Workspace(tmp_path / "work", cache=built[1].cache)
    shutil.copytree(built[1].root, work.root)
    train.run(params.train, work)
    certify.run(CertifyParams(missed=0.6, false_alarms=0.9, confidence=0.7), work)

    manifest = load_manifest(export.run(asked(params, 1.0), work, tmp_path / "out"))

    assert manifest.certificates.keys() == manifest.references.keys() == {"f32", "int8"}
    exact, coarse = manifest.certificates["f32"], manifest.certificates["int8"]
    assert exact.missed == coarse.missed and exact.missed.certified
    assert exact.clean_below != coarse.clean_below
    references = [
        Reference.load(tmp_path / "out" / "tiny" / file) for file in manifest.references.values()
    ]
    assert np.array_equal(references[0].axes, references[1].axes)
    assert not np.array_equal(references[0].quantiles, references[1].quantiles)
