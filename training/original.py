"""Checkpoints of the original service: one file of a fine-tuned open_clip model and its heads.

What it computed: open_clip's `encode_image` without normalisation, then linear, layer norm, ReLU,
linear, softmax; on the central square of the photo, as open_clip's evaluation transform cuts it.
An imported checkpoint computes the same from the same pixels.
"""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory

import open_clip
import torch
from pydantic import ValidationError
from safetensors.torch import save_file
from torch import Tensor, nn

from shared.errors import CheckpointError
from shared.model.backbone import empty_tower
from shared.model.classifier import Classifier, FeatureExtractor, Head
from shared.model.labels import LABELS
from shared.model.manifest import Backbone, Features, Golden, Manifest, Precision, Preprocess
from training import goldens
from training.export import GRAPH, HEAD, checksums, prove, seal
from training.graph import save_graph, to_openvino
from training.tower import WEIGHTS

_TOWER, _HEADS = "clip_model_state_dict", "model_state_dict"
_HEAD = "attribute_predictors.defect_scratch."
#: positions of linear, layer norm and the last linear layer; ReLU and dropout have no tensors
_HEAD_TENSORS = {"0": "layers.0", "1": "norm", "4": "layers.1"}
#: what torch.compile and DataParallel put before each name
_WRAPPERS = re.compile(r"^(?:_orig_mod\.|module\.)+")
_GOLDENS = (0, 2, 3, 9)
#: largest allowed difference of a golden logit
_TOLERANCE: dict[Precision, float] = {"f32": 0.02, "bf16": 1.0, "f16": 0.25}

Tensors = dict[str, Tensor]


def import_original(file: Path, backbone: str, out: Path, name: str) -> Path:
    """`out`/`name`, written only once it has opened and answered on torch and on OpenVINO.

    `backbone` is open_clip's name of the fine-tuned model. Raises CheckpointError for a file, a
    backbone or a name that does not fit, and where `out`/`name` exists.
    """
    manifest = _manifest(backbone, name)
    target = out / name
    if target.exists():
        raise CheckpointError(f"{target} exists: choose another name, or remove it first")
    model = _model(file, manifest)
    out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out, prefix=".import-") as made:
        folder = Path(made) / name
        folder.mkdir()
        _write(folder, model, manifest)
        prove(folder, torch=True)
        folder.rename(target)
    return target


def _manifest(backbone: str, name: str) -> Manifest:
    """All of it but what the files decide."""
    try:
        return Manifest(
            name=name,
            labels=LABELS,
            backbone=Backbone(model=backbone, weights=WEIGHTS),
            preprocess=_preprocess(backbone),
            features=Features(),
            head=HEAD,
            openvino={"f32": GRAPH},
            goldens=(Golden(file="none yet", logits=(0, 0)),),
            tolerance=_TOLERANCE,
            data={"origin": "imported from the original service"},
            sha256={},
        )
    except ValidationError as error:
        (mistake, *_) = error.errors()
        raise CheckpointError(
            f"{mistake['input']!r} is no possible name: {mistake['msg']}"
        ) from error


def _model(file: Path, manifest: Manifest) -> Classifier:
    stored = _read(file)
    tower = _tower(file, _tensors(stored, _TOWER, file), manifest.backbone.model)
    extractor = FeatureExtractor(tower, manifest.preprocess, manifest.features).eval()
    head = _head(file, _tensors(stored, _HEADS, file), _width(extractor, manifest.preprocess.size))
    return Classifier(extractor, head).eval()


def _read(file: Path) -> dict[str, object]:
    try:
        stored = torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"{file}: {error.strerror}") from error
    except Exception as error:  # torch raises nearly anything on what it did not write
        raise CheckpointError(
            f"{file} is no file of tensors and plain values, as torch.save writes it"
        ) from error
    if not isinstance(stored, dict):
        raise CheckpointError(f"{file} holds a {type(stored).__name__}, not a dict")
    return stored


def _tensors(stored: dict[str, object], key: str, file: Path) -> Tensors:
    found = stored.get(key)
    if not isinstance(found, dict) or not all(isinstance(v, Tensor) for v in found.values()):
        raise CheckpointError(f"{file} has no {key}, a dict of tensors")
    return {_WRAPPERS.sub("", str(name)): value for name, value in found.items()}


def _below(tensors: Tensors, prefix: str) -> Tensors:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _preprocess(backbone: str) -> Preprocess:
    """As open_clip feeds the pretrained model of this name: the fine-tuning started from it."""
    config = open_clip.get_model_config(backbone)
    if config is None:
        raise CheckpointError(f"open_clip knows no model {backbone}")
    tags = open_clip.list_pretrained_tags_by_model(backbone)
    ways = {_way(open_clip.get_pretrained_cfg(backbone, tag)) for tag in tags} or {_way({})}
    if len(ways) > 1:
        raise CheckpointError(f"{backbone} was pretrained in several ways: its input is unclear")
    ((mean, std, filtering, mode),) = ways
    if mode != "shortest":
        raise CheckpointError(f"{backbone} is fed by {mode!r}, which imports do not know")
    return Preprocess.model_validate(
        {
            "size": config["vision_cfg"]["image_size"],
            "resize": f"crop_{filtering}",
            "mean": mean,
            "std": std,
        }
    )


def _way(config: dict[str, object]) -> tuple[object, ...]:
    return (
        config.get("mean", open_clip.OPENAI_DATASET_MEAN),
        config.get("std", open_clip.OPENAI_DATASET_STD),
        config.get("interpolation", "bicubic"),
        config.get("resize_mode", "shortest"),
    )


def _tower(file: Path, tensors: Tensors, backbone: str) -> nn.Module:
    tower = empty_tower(backbone)
    _load(tower, _below(tensors, "visual."), f"{file}: {_TOWER} does not fit {backbone}")
    return tower


def _head(file: Path, tensors: Tensors, features: int) -> Head:
    found = _below(tensors, _HEAD)
    if not found:
        raise CheckpointError(f"{file}: {_HEADS} has nothing under {_HEAD}*")
    renamed: Tensors = {}
    for name, value in found.items():
        position, _, kind = name.partition(".")
        renamed[f"{_HEAD_TENSORS.get(position, name)}.{kind}"] = value
    biases = [value.numel() for name, value in renamed.items() if name.endswith("bias")]
    head = Head(features, max(biases, default=1), norm=True)
    # Of our own: the original did not standardise.
    renamed |= {"shift": head.shift, "scale": head.scale}
    _load(head, renamed, f"{file}: {_HEAD}* is not linear, layer norm, ReLU, dropout, linear")
    return head


def _load(module: nn.Module, tensors: Tensors, complaint: str) -> None:
    """Every tensor in its place, or CheckpointError with `complaint` and the first that is not."""
    expected = module.state_dict()
    for name in sorted(expected.keys() | tensors.keys()):
        if name not in tensors:
            raise CheckpointError(f"{complaint}: {name} is missing")
        if name not in expected:
            raise CheckpointError(f"{complaint}: {name} is unknown there")
        if tensors[name].shape != expected[name].shape:
            shapes = tuple(tensors[name].shape), tuple(expected[name].shape)
            raise CheckpointError(f"{complaint}: {name} is {shapes[0]}, not {shapes[1]}")
    module.load_state_dict(tensors)


def _width(extractor: FeatureExtractor, size: int) -> int:
    with torch.inference_mode():
        found = extractor(torch.zeros((1, 1, size, size, 3), dtype=torch.uint8))
    return int(found.shape[1])


def _write(folder: Path, model: Classifier, manifest: Manifest) -> None:
    """In full precision: the weights were never rounded, and shall answer as they always did."""
    for module, file in ((model.extractor.tower, WEIGHTS), (model.head, HEAD)):
        tensors = module.state_dict()
        save_file({key: value.contiguous() for key, value in tensors.items()}, folder / file)
    spec = manifest.preprocess
    photos = goldens.draw(folder / goldens.FOLDER, _GOLDENS)
    seen = goldens.features_of(photos, model.extractor, spec)
    answers = goldens.answered(photos, seen, model.head)
    save_graph(to_openvino(model, spec), folder / GRAPH, half=False)
    seal(folder, manifest.model_copy(update={"goldens": answers, "sha256": checksums(folder)}))
