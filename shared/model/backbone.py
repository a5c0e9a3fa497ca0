"""open_clip image towers, by name and tag or from files; random weights never count as a model."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import open_clip
import torch
from safetensors.torch import load_file

from shared.errors import CheckpointError
from shared.model.manifest import Backbone


def load_backbone(folder: Path, spec: Backbone) -> torch.nn.Module:
    """The tower that a manifest names, with its weights. Raises CheckpointError."""
    if spec.config:
        try:
            register_config(folder / spec.config, spec.model)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{folder / spec.config} is no open_clip config") from error
    if spec.weights is None:
        return pretrained_tower(spec.model, str(spec.tag))
    tower = empty_tower(spec.model)
    try:
        tower.load_state_dict(load_file(folder / spec.weights))
    except Exception as error:  # safetensors and torch have no common base
        raise CheckpointError(f"{folder / spec.weights} does not fit {spec.model}") from error
    return tower


def empty_tower(model: str) -> torch.nn.Module:
    """The image tower with random weights, for weights to be loaded into."""
    return _tower(model, pretrained=None, pretrained_text=False)


def pretrained_tower(model: str, source: str) -> torch.nn.Module:
    """`source` is a pretrained tag (fetched from a hub) or a local file of CLIP weights."""
    return _tower(model, pretrained=source, require_pretrained=True)


def tower_config(model: str, image_size: int) -> dict[str, object]:
    """An open_clip config for a bare timm image tower; the text tower is as small as it can be."""
    return {
        "embed_dim": 1280,
        "vision_cfg": {
            "timm_model_name": model,
            "timm_model_pretrained": False,
            "timm_pool": "avg",
            "timm_proj": "none",
            "image_size": image_size,
        },
        "text_cfg": {"context_length": 8, "vocab_size": 64, "width": 16, "heads": 2, "layers": 1},
    }


def _tower(model: str, **options: object) -> torch.nn.Module:
    try:
        clip = open_clip.create_model(model, weights_only=True, **options)
        tower: torch.nn.Module = clip.visual.eval()
    except Exception as error:  # hubs, files and configs each fail in their own way
        raise CheckpointError(f"open_clip cannot make {model}: {error}") from error
    return tower


def register_config(config: Path, model: str) -> None:
    """open_clip names a config by its file; a copy under that name keeps the original's name free.

    What an earlier checkpoint registered under the same name does not count.
    """
    if open_clip.get_model_config(model) == json.loads(config.read_bytes()):
        return
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(config, Path(folder) / f"{model}.json")
        open_clip.add_model_config(folder)
