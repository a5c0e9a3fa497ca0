"""A checkpoint of any open_clip model with random weights: right for speed, useless for answers."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from shared.model.backbone import empty_tower
from training.original import import_original

_HIDDEN = 256


def random_checkpoint(backbone: str, out: Path) -> Path:
    """Writes it the way checkpoints of the original service come in."""
    torch.manual_seed(0)
    tower = empty_tower(backbone)
    width = int(tower(torch.zeros(1, 3, *_size(tower))).shape[1])
    head = nn.Sequential(
        nn.Linear(width, _HIDDEN),
        nn.LayerNorm(_HIDDEN),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(_HIDDEN, 2),
    )
    stored = {
        "clip_model_state_dict": {f"visual.{k}": v for k, v in tower.state_dict().items()},
        "model_state_dict": {
            f"attribute_predictors.defect_scratch.{k}": v for k, v in head.state_dict().items()
        },
    }
    file = out / f"{backbone}.pth"
    torch.save(stored, file)
    return import_original(file, backbone, out, backbone.lower())


def _size(tower: nn.Module) -> tuple[int, int]:
    size = tower.image_size
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
