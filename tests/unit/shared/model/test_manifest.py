"""The manifest: understood entirely or refused, and every file as it says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.errors import CheckpointError
from shared.model.manifest import MANIFEST, Manifest, load_manifest, sha256_of

Fields = dict[str, Any]


def _edit(folder: Path, change: Callable[[Fields], object]) -> None:
    fields = json.loads((folder / MANIFEST).read_text())
    change(fields)
    (folder / MANIFEST).write_text(json.dumps(fields))


def test_a_checkpoint_as_written_is_understood(checkpoint: Path) -> None:
    manifest = load_manifest(checkpoint)
    assert manifest.preprocess.view_count == 5
    assert manifest.title == f"tiny@{manifest.revision}"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda m: m.update(surprise=1), "surprise"),
        (lambda m: m["preprocess"].update(crop="center"), "crop"),
        (lambda m: m["backbone"].update(url="http://x"), "url"),
        (lambda m: m.update(format=2), "format"),
        (lambda m: m.update(labels=["scratches", "no_scratches"]), "labels"),
        (lambda m: m.update(name="../x"), "name"),
        (lambda m: m.update(head="../head.safetensors"), "inside"),
        (lambda m: m.update(head="/etc/passwd"), "inside"),
        (lambda m: m.update(head="a/../../b"), "inside"),
        (lambda m: m.update(head="a\0b"), "inside"),
        (lambda m: m["sha256"].update({"../x": "0"}), "inside"),
        (lambda m: m["openvino"].update(f32="/x.xml"), "inside"),
        (lambda m: m["openvino"].update(f64="x.xml"), "f64"),
        (lambda m: m["backbone"].update(model="../../evil"), "model"),
        (lambda m: m["backbone"].update(model="local-dir:/tmp"), "model"),
        (lambda m: m["backbone"].update(weights=None), "either"),
        (lambda m: m["backbone"].update(tag="laion2b"), "either"),
        (lambda m: m["backbone"].update(weights=None, tag="/tmp/w.pt"), "tag"),
        (lambda m: m["preprocess"].update(resize="crop"), "resize"),
        (lambda m: m["preprocess"].update(resize="crop_bicubic"), "grids"),
        (lambda m: m["preprocess"].update(grids=[]), "grids"),
        (lambda m: m["preprocess"].update(size=8), "size"),
        (lambda m: m["features"].update(depths=[], embedding=False), "features"),
        (lambda m: m.update(temperature=0), "temperature"),
        (lambda m: m.update(temperature=float("inf")), "temperature"),
        (lambda m: m["tolerance"].update(f32=float("nan")), "tolerance"),
        (lambda m: m["tolerance"].update(f32=float("inf")), "tolerance"),
        (lambda m: m.update(threshold=1), "threshold"),
        (lambda m: m.update(goldens=[]), "goldens"),
        (lambda m: m.pop("tolerance"), "tolerance"),
        (lambda m: m["sha256"].pop("head.safetensors"), "head.safetensors"),
        (lambda m: m["sha256"].pop("f32.bin"), "f32.bin"),
        (lambda m: m["sha256"].pop("golden-0.png"), "golden-0.png"),
        (lambda m: m.update(head="."), "checksum"),
    ],
)
def test_what_is_not_understood_is_refused(
    change: Callable[[Fields], object], named: str, checkpoint: Path
) -> None:
    _edit(checkpoint, change)
    with pytest.raises(CheckpointError, match=named):
        load_manifest(checkpoint)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\xff\xfe\0", b"null"])
def test_a_manifest_that_is_no_json_object_is_refused(text: bytes, checkpoint: Path) -> None:
    (checkpoint / MANIFEST).write_bytes(text)
    with pytest.raises(CheckpointError, match=MANIFEST):
        load_manifest(checkpoint)


def test_a_folder_without_manifest_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="No such file"):
        load_manifest(tmp_path / "missing")


FILES = ["backbone.json", "backbone.safetensors", "f32.bin", "f32.xml", "golden-0.png"]


@pytest.mark.parametrize("file", [*FILES, "head.safetensors"])
def test_a_missing_file_is_named(file: str, checkpoint: Path) -> None:
    (checkpoint / file).unlink()
    with pytest.raises(CheckpointError, match=file):
        load_manifest(checkpoint)


@pytest.mark.parametrize("file", [*FILES, "head.safetensors"])
def test_a_changed_byte_is_noticed(file: str, checkpoint: Path) -> None:
    data = bytearray((checkpoint / file).read_bytes())
    data[len(data) // 2] ^= 1
    (checkpoint / file).write_bytes(data)
    with pytest.raises(CheckpointError, match=file):
        load_manifest(checkpoint)


def test_the_revision_follows_the_weights(checkpoint: Path) -> None:
    before = load_manifest(checkpoint).revision
    (checkpoint / "head.safetensors").write_bytes(b"other weights")
    other = sha256_of(checkpoint / "head.safetensors")
    _edit(checkpoint, lambda m: m["sha256"].update({"head.safetensors": other}))
    assert load_manifest(checkpoint).revision != before


@pytest.mark.parametrize("field", ["threshold", "temperature"])
def test_the_revision_follows_the_calibration(field: str, checkpoint: Path) -> None:
    before = load_manifest(checkpoint).revision
    _edit(checkpoint, lambda m: m.update({field: 0.7}))
    assert load_manifest(checkpoint).revision != before


def test_the_revision_does_not_follow_the_metrics(checkpoint: Path) -> None:
    before = load_manifest(checkpoint).revision
    _edit(checkpoint, lambda m: m.update(metrics={"auroc": 0.1}))
    assert load_manifest(checkpoint).revision == before


#: as it was written before there were certificates
BEFORE: Fields = {
    "name": "old",
    "labels": ["no_scratches", "scratches"],
    "backbone": {"model": "x", "tag": "y"},
    "preprocess": {"size": 64, "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
    "features": {"depths": [1]},
    "head": "head.safetensors",
    "goldens": [{"file": "g.png", "logits": [0, 1]}],
    "tolerance": {"f32": 0.1},
    "sha256": {"head.safetensors": "0", "g.png": "0"},
}
CERTIFICATE: Fields = {
    "confidence": 0.95,
    "unlike": 0.01,
    "missed": {"rate": 0.01, "images": 500, "needed": 299},
    "false_alarms": {"rate": 0.05, "images": 40, "needed": 59},
    "clean_below": 0.1,
    "scratched_from": None,
}


def test_a_manifest_of_before_has_no_certificate_and_keeps_its_revision() -> None:
    """Rollouts name models by it: an upgrade must not rename what serves."""
    manifest = Manifest.model_validate(BEFORE)

    assert manifest.certificates == {} and manifest.references == {}
    assert manifest.revision == "b7ca2f9dc961"
    certified = BEFORE | {"certificates": {"f32": CERTIFICATE}}
    assert Manifest.model_validate(certified).revision != manifest.revision


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"clean_below": None}, "clean_below"),
        ({"scratched_from": 0.9}, "scratched_from"),
        ({"false_alarms": CERTIFICATE["missed"], "scratched_from": 0.05}, "above"),
        ({"confidence": 1}, "confidence"),
        ({"clean_below": -0.1}, "clean_below"),
    ],
)
def test_a_certificate_that_contradicts_itself_is_refused(
    changes: Fields, named: str, checkpoint: Path
) -> None:
    _edit(checkpoint, lambda m: m.update(certificates={"f32": CERTIFICATE | changes}))
    with pytest.raises(CheckpointError, match=named):
        load_manifest(checkpoint)


def test_a_reference_needs_its_checksum(checkpoint: Path) -> None:
    _edit(checkpoint, lambda m: m.update(references={"f32": "r.safetensors"}))
    with pytest.raises(CheckpointError, match="checksum"):
        load_manifest(checkpoint)
