"""Tower, pooled features, head: one torch module from uint8 views to logits.

The reference for every runtime, and what is exported. Mean and std live inside the graph.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from shared.errors import CheckpointError
from shared.model.manifest import Features, Manifest, Preprocess


class FeatureExtractor(nn.Module):
    """uint8 [images, views, size, size, 3] to float [images, features]."""

    mean: Tensor
    std: Tensor

    def __init__(self, tower: nn.Module, preprocess: Preprocess, features: Features) -> None:
        super().__init__()
        self.tower = tower
        self.spec = features
        self.register_buffer("mean", torch.tensor(preprocess.mean).view(1, 3, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(preprocess.std).view(1, 3, 1, 1) * 255)

    def forward(self, views: Tensor) -> Tensor:
        by_view, _ = self.trace(views)
        return self.combined(by_view)

    def trace(self, views: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Pooled features [images, views, features], and the maps they were pooled from, one a
        depth, [images x views, channels, rows, columns]."""
        images, count = views.shape[:2]
        pixels = views.flatten(0, 1).permute(0, 3, 1, 2).to(self.mean.dtype)
        pooled, maps = self._pool((pixels - self.mean) / self.std)
        return pooled.reshape(images, count, -1), maps

    def combined(self, by_view: Tensor) -> Tensor:
        """What the head sees: [images, views, features] to [images, features of the head]."""
        if by_view.shape[1] == 1:
            return by_view.flatten(1)
        # The first view is the whole image; of all the views, the most telling one counts.
        return torch.cat([by_view[:, 0], by_view.amax(1), by_view.mean(1)], 1)

    def _pool(self, pixels: Tensor) -> tuple[Tensor, list[Tensor]]:
        if not self.spec.depths:
            return self.tower(pixels), []
        tower: Any = self.tower
        outputs = tower.forward_intermediates(
            pixels, indices=list(self.spec.depths), intermediates_only=not self.spec.embedding
        )
        maps = list(outputs["image_intermediates"])
        parts = []
        for level in maps:
            parts += [level.mean((2, 3)), level.amax((2, 3))]
        if self.spec.embedding:
            parts.append(outputs["image_features"])
        return torch.cat(parts, 1), maps


class Head(nn.Module):
    """Standardises the features, then one or two linear layers to the logits.

    Tensors of `head.safetensors`: `shift`, `scale` [features]; `layers.N.weight`, `layers.N.bias`;
    and `norm.weight`, `norm.bias` [hidden] where a layer norm stands before the ReLU.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, features: int, hidden: int = 0, *, norm: bool = False) -> None:
        super().__init__()
        self.register_buffer("shift", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        sizes = [features, hidden, 2] if hidden else [features, 2]
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(sizes))
        self.norm = nn.LayerNorm(hidden) if norm else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        values = (features - self.shift) * self.scale
        for layer in self.layers[:-1]:
            values = torch.relu(self.norm(layer(values)))
        logits: Tensor = self.layers[-1](values)
        return logits

    @classmethod
    def from_file(cls, path: Path) -> Head:
        """Raises CheckpointError."""
        try:
            tensors = load_file(path)
            hidden = tensors["layers.0.weight"].shape[0] if "layers.1.weight" in tensors else 0
            head = cls(tensors["shift"].shape[0], hidden, norm="norm.weight" in tensors)
            head.load_state_dict(tensors)
        except Exception as error:  # safetensors and torch have no common base
            raise CheckpointError(f"{path} is not a head: {error}") from error
        return head


class Classifier(nn.Module):
    """uint8 [images, views, size, size, 3] to logits [images, 2], in the order of LABELS."""

    def __init__(self, extractor: FeatureExtractor, head: Head) -> None:
        super().__init__()
        self.extractor = extractor
        self.head = head

    def forward(self, views: Tensor) -> Tensor:
        logits: Tensor = self.head(self.extractor(views))
        return logits

    def trace(self, views: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """The logits, and `FeatureExtractor.trace`."""
        by_view, maps = self.extractor.trace(views)
        return self.head(self.extractor.combined(by_view)), by_view, maps


def load_classifier(folder: Path, manifest: Manifest) -> Classifier:
    """The reference model of a checkpoint, in eval mode. Raises CheckpointError."""
    from shared.model.backbone import load_backbone  # open_clip takes seconds; a head needs none

    tower = load_backbone(folder, manifest.backbone)
    extractor = FeatureExtractor(tower, manifest.preprocess, manifest.features)
    return Classifier(extractor, Head.from_file(folder / manifest.head)).eval()
