"""A small valid checkpoint with seeded random weights, quickly written, for tests of any part."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.numpy import load_file
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import save_file

from shared.model.backbone import empty_tower, register_config, tower_config
from shared.model.classifier import Classifier, FeatureExtractor, Head
from shared.model.decode import decode
from shared.model.labels import LABELS
from shared.model.manifest import MANIFEST, Features, Manifest, Preprocess, sha256_of
from shared.model.preprocess import ImageLimits, preprocess
from shared.model.runtime import open_runtime
from shared.model.views import make_views, min_side

#: an open_clip model of our own: no built-in has this name
TINY_MODEL = "scratch-test-tiny"
_TIMM_TOWER = "test_efficientnet"
_LARGE = 100_000


def tiny_checkpoint(
    folder: Path,
    *,
    openvino: bool = False,
    grids: tuple[int, ...] = (1,),
    seed: int = 0,
    name: str = "tiny",
    head_seed: int = 2,
) -> Path:
    """Writes a checkpoint that `open_inspector` accepts into `folder`, and returns it.

    Those of one `seed` share their tower. With `openvino`, also a float graph exported the way
    training does it; that takes seconds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    preprocess = Preprocess(size=64, grids=grids, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    features = Features(depths=(2, 4), embedding=True)
    model = _model(folder, preprocess, features, seed, head_seed)
    goldens = [_golden(folder, model, preprocess, number) for number in range(2)]
    graphs = {"f32": _export(folder, model, preprocess)} if openvino else {}
    manifest = Manifest.model_validate(
        {
            "name": name,
            "labels": LABELS,
            "backbone": {
                "model": TINY_MODEL,
                "config": "backbone.json",
                "weights": "backbone.safetensors",
            },
            "preprocess": preprocess,
            "features": features,
            "head": "head.safetensors",
            "openvino": graphs,
            "goldens": goldens,
            "tolerance": {"f32": 1e-3, "bf16": 0.5},
            "metrics": {"auroc": 0.9},
            "sha256": {file.name: sha256_of(file) for file in sorted(folder.iterdir())},
        }
    )
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2))
    return folder


def tiny_variant(source: Path, folder: Path, *, name: str, factor: float, resize: str) -> Path:
    """A copy, quickly made, whose head answers otherwise: its last weights times `factor`.

    It has the tower of `source`, and its views, too, with the same `resize`.
    """
    shutil.copytree(source, folder)
    head = load_file(folder / "head.safetensors")
    before, after = head["layers.0.weight"], head["layers.0.weight"] * np.float32(factor)
    save_arrays(head | {"layers.0.weight": after}, folder / "head.safetensors")
    weights = (folder / "f32.bin").read_bytes()
    assert weights.count(before.tobytes()) == 1
    (folder / "f32.bin").write_bytes(weights.replace(before.tobytes(), after.tobytes()))
    fields = json.loads((folder / MANIFEST).read_text())
    fields["name"] = name
    fields["preprocess"]["resize"] = resize
    for file in fields["sha256"]:
        fields["sha256"][file] = sha256_of(folder / file)
    manifest = Manifest.model_validate(fields)
    runtime = open_runtime(folder, manifest, name="openvino")
    for golden in fields["goldens"]:
        data = (folder / golden["file"]).read_bytes()
        views = preprocess(data, manifest.preprocess, ImageLimits())
        golden["logits"] = runtime.forward(views[None])[0].tolist()
    (folder / MANIFEST).write_text(json.dumps(fields))
    return folder


def _model(
    folder: Path, preprocess: Preprocess, features: Features, seed: int, head_seed: int
) -> Classifier:
    config = folder / "backbone.json"
    config.write_text(json.dumps(tower_config(_TIMM_TOWER, preprocess.size)))
    tower = _tower(config, seed)
    extractor = FeatureExtractor(tower, preprocess, features).eval()
    head = _head(extractor, preprocess, head_seed)
    _save(tower, folder / "backbone.safetensors")
    _save(head, folder / "head.safetensors")
    return Classifier(extractor, head).eval()


def _tower(config: Path, seed: int) -> torch.nn.Module:
    register_config(config, TINY_MODEL)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return empty_tower(TINY_MODEL)


def _head(extractor: FeatureExtractor, preprocess: Preprocess, seed: int) -> Head:
    """Scaled so that two images get clearly different logits."""
    size, count = preprocess.size, preprocess.view_count
    noise = np.random.default_rng(1).integers(0, 256, (8, count, size, size, 3), np.uint8)
    with torch.inference_mode():
        found = extractor(torch.from_numpy(noise))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        head = Head(found.shape[1])
    head.shift.copy_(found.mean(0))
    head.scale.copy_(1 / (found.std() + 1e-6))
    return head.eval()


def _save(module: torch.nn.Module, path: Path) -> None:
    save_file({name: value.contiguous() for name, value in module.state_dict().items()}, path)


def _golden(
    folder: Path, model: Classifier, preprocess: Preprocess, number: int
) -> dict[str, object]:
    pixels = np.random.default_rng(number).integers(0, 256, (72, 96, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    file = folder / f"golden-{number}.png"
    file.write_bytes(buffer.getvalue())
    upright = decode(
        buffer.getvalue(), min_side=min_side(preprocess), max_pixels=_LARGE, max_side=_LARGE
    )
    with torch.inference_mode():
        logits = model(torch.from_numpy(make_views(upright, preprocess)[None]))[0]
    return {"file": file.name, "logits": logits.tolist()}


def _export(folder: Path, model: Classifier, preprocess: Preprocess) -> str:
    import openvino as ov

    size, count = preprocess.size, preprocess.view_count
    example = torch.zeros((2, count, size, size, 3), dtype=torch.uint8)
    program = torch.export.export(model, (example,), dynamic_shapes=({0: torch.export.Dim("n")},))
    ov.save_model(ov.convert_model(program), folder / "f32.xml", compress_to_fp16=False)
    return "f32.xml"
