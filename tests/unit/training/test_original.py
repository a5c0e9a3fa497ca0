"""Files of the original service: their answers survive the import, and wrong files are refused."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from shared.errors import CheckpointError
from shared.model.backbone import register_config, tower_config
from shared.model.inspector import open_inspector
from training.original import import_original

BACKBONE = "scratch-test-original"
SIZE, FEATURES, HIDDEN = 64, 256, 24
Stored = dict[str, Any]


class Original:
    """The original's own arithmetic, from open_clip's parts alone."""

    def __init__(self) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.clip, _, self.transform = open_clip.create_model_and_transforms(BACKBONE)
            self.head = nn.Sequential(
                nn.Linear(FEATURES, HIDDEN), nn.LayerNorm(HIDDEN), nn.ReLU(), nn.Dropout(0.3),
                nn.Linear(HIDDEN, 2),
            )  # fmt: skip
            for parameter in self.head.parameters():  # a norm of ones and zeros would hide mistakes
                nn.init.normal_(parameter, std=0.7)
        self.clip.eval()
        self.head.eval()
        with torch.no_grad():  # random towers say nearly the same of all photos: hear the rest
            common = self.features(_photo(64, 64, 99))[0]
            self.head[0].bias.copy_(-self.head[0].weight @ common)

    def features(self, photo: Image.Image) -> Tensor:
        found: Tensor = self.clip.encode_image(self.transform(photo)[None])
        return found

    def probabilities(self, photo: Image.Image) -> list[float]:
        with torch.inference_mode():
            return [float(p) for p in self.head(self.features(photo)).softmax(1)[0]]

    def stored(self) -> Stored:
        head = self.head.state_dict()
        return {
            "clip_model_state_dict": self.clip.state_dict(),
            "model_state_dict": {
                f"attribute_predictors.defect_scratch.{key}": value for key, value in head.items()
            }
            | {"attribute_predictors.another.0.weight": torch.zeros(3, FEATURES)},
            "epoch": 7,
        }


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Original:
    config = tmp_path_factory.mktemp("config") / "config.json"
    own = tower_config("test_efficientnet", SIZE) | {"embed_dim": FEATURES}
    config.write_text(json.dumps(own))
    register_config(config, BACKBONE)
    return Original()


@pytest.fixture(scope="module")
def imported(original: Original, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("imported")
    stored = original.stored()
    tower = stored["clip_model_state_dict"]  # as torch.compile and DataParallel rename it
    stored["clip_model_state_dict"] = {f"_orig_mod.module.{k}": v for k, v in tower.items()}
    torch.save(stored, root / "old.pth")
    return import_original(root / "old.pth", BACKBONE, root / "ckpts", "old")


def _photo(height: int, width: int, seed: int) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("runtime", ["torch", "openvino"])
def test_it_answers_as_the_original_did(original: Original, imported: Path, runtime: Any) -> None:
    inspector = open_inspector(imported, runtime=runtime, precision="f32")
    answers = []
    for seed, size in enumerate([(64, 64), (90, 200), (301, 120), (480, 640), (20, 33)]):
        photo = _photo(*size, seed)
        encoded = io.BytesIO()
        photo.save(encoded, "PNG")
        verdict = inspector.inspect(encoded.getvalue())
        expected = original.probabilities(photo)
        assert [verdict.prob_no_scratches, verdict.prob_scratches] == pytest.approx(
            expected, abs=2e-3
        )
        answers.append(verdict.prob_scratches)
    assert max(answers) - min(answers) > 0.05  # else any head would do


@pytest.mark.parametrize("runtime", ["torch", "openvino"])
def test_without_pooled_maps_it_has_no_heatmap(imported: Path, runtime: Any) -> None:
    inspector = open_inspector(imported, runtime=runtime, precision="f32")
    (trace,) = inspector.trace(np.zeros((1, 1, SIZE, SIZE, 3), np.uint8))
    assert inspector.locate(trace) is None


def _without(key: str, name: str) -> Callable[[Stored], object]:
    return lambda stored: stored[key].pop(name)


HEAD = "attribute_predictors.defect_scratch."
HEADS = "model_state_dict"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda s: s.pop("clip_model_state_dict"), "clip_model_state_dict"),
        (lambda s: s.pop(HEADS), "model_state_dict"),
        (lambda s: s.update(model_state_dict=[1]), "model_state_dict"),
        (lambda s: s.update(model_state_dict={}), r"nothing under attribute_predictors\.defect"),
        (lambda s: s.update(clip_model_state_dict={"visual.x": torch.ones(1)}), "missing"),
        (lambda s: s["clip_model_state_dict"].update({"visual.x": torch.ones(1)}), "unknown"),
        (_without(HEADS, HEAD + "0.weight"), r"layers\.0\.weight"),
        (_without(HEADS, HEAD + "1.weight"), r"norm\.weight is missing"),
        (_without(HEADS, HEAD + "4.bias"), r"layers\.1\.bias is missing"),
        (lambda s: s[HEADS].update({HEAD + "7.weight": torch.ones(1)}), "unknown"),
        (lambda s: s[HEADS].update({HEAD + "4.weight": torch.ones(5, HIDDEN)}), r"\(5, 24\)"),
        (lambda s: s[HEADS].update({HEAD + "0.weight": torch.ones(HIDDEN, 99)}), r"\(24, 99\)"),
        (lambda s: s[HEADS].update({HEAD + "0.weight": torch.tensor(1.0)}), "layers.0.weight"),
    ],
)
def test_what_does_not_fit_is_named(
    original: Original, change: Callable[[Stored], object], named: str, tmp_path: Path
) -> None:
    stored = original.stored()
    change(stored)
    torch.save(stored, tmp_path / "old.pth")
    with pytest.raises(CheckpointError, match=named):
        import_original(tmp_path / "old.pth", BACKBONE, tmp_path / "ckpts", "old")
    assert not (tmp_path / "ckpts").exists()


class Surprise:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("pwned"),)


@pytest.mark.parametrize(
    "content", [b"", b"junk" * 99, pickle.dumps({"a": 1}), pickle.dumps(Surprise())]
)
def test_what_torch_did_not_write_is_refused(
    original: Original, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"old\.pth"):
        import_original(tmp_path / "old.pth", BACKBONE, tmp_path, "old")
    assert not (tmp_path / "pwned").exists()


def test_objects_in_the_file_are_never_made(
    original: Original, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(original.stored() | {"encoder": Surprise()}, tmp_path / "old.pth")
    with pytest.raises(CheckpointError, match="tensors and plain values"):
        import_original(tmp_path / "old.pth", BACKBONE, tmp_path, "old")
    assert not (tmp_path / "pwned").exists()


def test_a_file_of_something_else_is_refused(original: Original, tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "old.pth")
    with pytest.raises(CheckpointError, match="holds a list"):
        import_original(tmp_path / "old.pth", BACKBONE, tmp_path, "old")
    with pytest.raises(CheckpointError, match="No such file"):
        import_original(tmp_path / "missing.pth", BACKBONE, tmp_path, "old")


@pytest.mark.parametrize(
    ("backbone", "name", "named"),
    [
        ("no-such-model", "old", "knows no model no-such-model"),
        ("hf-hub:somebody/model", "old", "hf-hub:somebody/model"),
        ("ViT-B-16-SigLIP", "old", "squash"),
        (BACKBONE, "../old", "possible name"),
    ],
)
def test_a_wrong_backbone_or_name_is_refused(
    original: Original, backbone: str, name: str, named: str, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=named):
        import_original(tmp_path / "old.pth", backbone, tmp_path, name)


def test_no_checkpoint_is_overwritten(original: Original, imported: Path) -> None:
    file = imported.parent.parent / "old.pth"
    with pytest.raises(CheckpointError, match="exists"):
        import_original(file, BACKBONE, imported.parent, imported.name)
