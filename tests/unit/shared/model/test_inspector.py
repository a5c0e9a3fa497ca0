"""Three verbs for one photo, and a checkpoint that proves itself before it serves."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from shared.errors import CheckpointError, ImageTooLarge
from shared.model.decode import Pixels
from shared.model.inspector import Inspector, open_inspector
from shared.model.manifest import MANIFEST, Manifest, Precision, load_manifest, sha256_of
from shared.model.preprocess import ImageLimits
from shared.model.runtime import Logits, RuntimeName, open_runtime
from tests.unit.shared.image_files import encode, scene


@dataclass
class FakeRuntime:
    """Answers every view with the same logits."""

    answer: tuple[float, float] = (0.0, 0.0)
    precision: Precision = "f32"
    variant: str = "fake/f32/cpu"
    seen: list[tuple[int, ...]] = field(default_factory=list)

    def forward(self, views: Pixels) -> Logits:
        self.seen.append(views.shape)
        return np.array([self.answer] * len(views), np.float32)


def _inspector(folder: Path, runtime: FakeRuntime | None = None, **changes: object) -> Inspector:
    manifest: Manifest = load_manifest(folder).model_copy(update=changes)
    return Inspector(folder, manifest, runtime or FakeRuntime(), ImageLimits())


def _logits(no_scratches: float, scratches: float) -> Logits:
    return np.array([no_scratches, scratches], np.float32)


def _tamper(folder: Path, file: str, data: bytes) -> None:
    """A file replaced together with its checksum."""
    (folder / file).write_bytes(data)
    fields = json.loads((folder / MANIFEST).read_text())
    fields["sha256"][file] = sha256_of(folder / file)
    (folder / MANIFEST).write_text(json.dumps(fields))


@pytest.mark.parametrize("runtime", ["torch", "openvino"])
def test_a_sound_checkpoint_proves_itself(runtime: RuntimeName, checkpoint: Path) -> None:
    inspector = open_inspector(checkpoint, runtime=runtime)
    assert inspector.prove() < 1e-4
    verdict = inspector.inspect(encode(scene(300, 200), "JPEG"))
    assert verdict.pred in ("scratches", "no_scratches")
    assert math.isclose(verdict.prob_scratches + verdict.prob_no_scratches, 1)


@pytest.mark.parametrize("runtime", ["torch", "openvino"])
@pytest.mark.parametrize("logit", [0, 1])
def test_another_golden_answer_is_not_accepted(
    logit: int, runtime: RuntimeName, checkpoint: Path
) -> None:
    fields = json.loads((checkpoint / MANIFEST).read_text())
    fields["goldens"][1]["logits"][logit] += 0.01
    (checkpoint / MANIFEST).write_text(json.dumps(fields))
    with pytest.raises(CheckpointError, match=r"golden-1\.png"):
        open_inspector(checkpoint, runtime=runtime)


def test_other_weights_are_not_accepted(checkpoint: Path, tmp_path: Path) -> None:
    tensors = load_file(checkpoint / "head.safetensors")
    tensors["layers.0.bias"] += 0.1
    save_file(tensors, tmp_path / "other")
    _tamper(checkpoint, "head.safetensors", (tmp_path / "other").read_bytes())
    with pytest.raises(CheckpointError, match="expected"):
        open_inspector(checkpoint, runtime="torch")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_not_numbers_are_not_accepted(
    value: float, checkpoint: Path, tmp_path: Path
) -> None:
    tensors = load_file(checkpoint / "head.safetensors")
    tensors["layers.0.bias"] += value
    save_file(tensors, tmp_path / "other")
    _tamper(checkpoint, "head.safetensors", (tmp_path / "other").read_bytes())
    with pytest.raises(CheckpointError, match="expected"):
        open_inspector(checkpoint, runtime="torch")


def test_a_head_that_does_not_fit_is_not_accepted(checkpoint: Path, tmp_path: Path) -> None:
    tensors = {"shift": torch.zeros(3), "scale": torch.ones(3)}
    tensors |= {"layers.0.weight": torch.zeros(2, 3), "layers.0.bias": torch.zeros(2)}
    save_file(tensors, tmp_path / "other")
    _tamper(checkpoint, "head.safetensors", (tmp_path / "other").read_bytes())
    with pytest.raises(CheckpointError, match="cannot judge"):
        open_inspector(checkpoint, runtime="torch")


def test_a_golden_that_is_no_image_is_not_accepted(checkpoint: Path) -> None:
    _tamper(checkpoint, "golden-0.png", b"no image")
    with pytest.raises(CheckpointError, match=r"golden-0\.png"):
        open_inspector(checkpoint, runtime="openvino")


def test_a_precision_without_tolerance_cannot_prove_itself(checkpoint: Path) -> None:
    with pytest.raises(CheckpointError, match="tolerance"):
        _inspector(checkpoint, FakeRuntime(precision="int8")).prove()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 1])
def test_logits_that_are_not_numbers_give_no_verdict(
    place: int, value: float, checkpoint: Path
) -> None:
    logits = _logits(0, 0)
    logits[place] = value
    with pytest.raises(ValueError, match="finite"):
        _inspector(checkpoint).postprocess(logits)


@pytest.mark.parametrize(
    ("logits", "label"),
    [((2, -2), "no_scratches"), ((-2, 2), "scratches"), ((0, 0), "scratches")],
)
def test_the_larger_logit_wins(logits: tuple[float, float], label: str, checkpoint: Path) -> None:
    assert _inspector(checkpoint).postprocess(_logits(*logits)).pred == label


@pytest.mark.parametrize("margin", [-1e30, -100, -1, 0, 1, 100, 1e30])
def test_probabilities_stay_probabilities(margin: float, checkpoint: Path) -> None:
    verdict = _inspector(checkpoint).postprocess(_logits(0, margin))
    assert 0 <= verdict.prob_scratches <= 1
    assert 0 <= verdict.prob_no_scratches <= 1
    assert math.isclose(verdict.prob_scratches + verdict.prob_no_scratches, 1)


def test_temperature_softens_and_the_threshold_decides(checkpoint: Path) -> None:
    plain = _inspector(checkpoint).postprocess(_logits(0, 2))
    soft = _inspector(checkpoint, temperature=4.0).postprocess(_logits(0, 2))
    strict = _inspector(checkpoint, threshold=0.9).postprocess(_logits(0, 2))
    assert 0.5 < soft.prob_scratches < plain.prob_scratches
    assert math.isclose(soft.prob_scratches, 1 / (1 + math.exp(-0.5)))
    assert strict.pred == "no_scratches"
    assert strict.prob_scratches == plain.prob_scratches


def test_one_photo_is_one_batch_of_its_views(checkpoint: Path) -> None:
    runtime = FakeRuntime(answer=(3, -3))
    verdict = _inspector(checkpoint, runtime).inspect(encode(scene(300, 200), "PNG"))
    assert runtime.seen == [(1, 5, 64, 64, 3)]
    assert verdict.pred == "no_scratches"


def test_the_limits_are_applied(checkpoint: Path) -> None:
    inspector = open_inspector(
        checkpoint, runtime="openvino", limits=ImageLimits(max_pixels=10_000, max_side=100)
    )
    with pytest.raises(ImageTooLarge):
        inspector.preprocess(encode(scene(120, 20), "PNG"))


def test_what_does_not_prove_itself_gives_way_to_f32_only_where_nothing_was_asked_for(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a processor on which bf16 would be chosen, and goes wrong
    manifest = load_manifest(checkpoint)
    exact = open_runtime(checkpoint, manifest, name="openvino")
    wrong = FakeRuntime(answer=(9, 9), precision="bf16")

    def opened(*_: object, precision: str, **__: object) -> object:
        return exact if precision == "f32" else wrong

    monkeypatch.setattr("shared.model.inspector.open_runtime", opened)

    assert open_inspector(checkpoint, precision="auto").runtime is exact
    with pytest.raises(CheckpointError, match="expected"):
        open_inspector(checkpoint, precision="bf16")
