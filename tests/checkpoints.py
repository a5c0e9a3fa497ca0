"""A small valid checkpoint with seeded random weights, quickly written, for tests of any part."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from shared.model.backbone import empty_tower, register_config, tower_config
from shared.model.classifier import Classifier, FeatureExtractor, Head
from shared.model.decode import decode
from shared.model.labels import LABELS
from shared.model.manifest import MANIFEST, Features, Manifest, Preprocess, sha256_of
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
) -> Path:
    """Writes a checkpoint that `open_inspector` accepts into `folder`, and returns it.

    With `openvino`, also a float graph exported the way training does it; that takes seconds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    preprocess = Preprocess(size=64, grids=grids, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    features = Features(depths=(2, 4), embedding=True)
    model = _model(folder, preprocess, features, seed)
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


def _model(folder: Path, preprocess: Preprocess, features: Features, seed: int) -> Classifier:
    config = folder / "backbone.json"
    config.write_text(json.dumps(tower_config(_TIMM_TOWER, preprocess.size)))
    tower = _tower(config, seed)
    extractor = FeatureExtractor(tower, preprocess, features).eval()
    head = _head(extractor, preprocess)
    _save(tower, folder / "backbone.safetensors")
    _save(head, folder / "head.safetensors")
    return Classifier(extractor, head).eval()


def _tower(config: Path, seed: int) -> torch.nn.Module:
    register_config(config, TINY_MODEL)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return empty_tower(TINY_MODEL)


def _head(extractor: FeatureExtractor, preprocess: Preprocess) -> Head:
    """Scaled so that two images get clearly different logits."""
    size, count = preprocess.size, preprocess.view_count
    noise = np.random.default_rng(1).integers(0, 256, (8, count, size, size, 3), np.uint8)
    with torch.inference_mode():
        found = extractor(torch.from_numpy(noise))
    with torch.random.fork_rng():
        torch.manual_seed(2)
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
