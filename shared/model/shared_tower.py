"""Two heads on one forward pass: a second checkpoint for nearly nothing, if its tower is the same.

The features that the first checkpoint's graph hands to its own head go to the other's head, too.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from shared.errors import CheckpointError
from shared.model.decode import Pixels
from shared.model.embedding import tower_of
from shared.model.evidence import Floats, Trace
from shared.model.inspector import Inspector
from shared.model.manifest import Precision, load_manifest
from shared.model.runtime import Embedded, FeatureForward, Logits


class SideHead:
    """A head in numpy; see `shared.model.classifier.Head`. Raises CheckpointError."""

    def __init__(self, file: Path) -> None:
        try:
            tensors = {name: t.astype(np.float32) for name, t in load_file(file).items()}
            self._shift, self._scale = tensors.pop("shift"), tensors.pop("scale")
            self._layers = [
                (tensors.pop(f"layers.{i}.weight").T, tensors.pop(f"layers.{i}.bias"))
                for i in range(len(tensors) // 2)
            ]
        except Exception as error:  # safetensors has errors of its own
            raise CheckpointError(f"{file} is not a head of plain layers") from error
        if tensors:
            raise CheckpointError(f"{file} has more than plain layers: {sorted(tensors)}")

    def __call__(self, features: Floats) -> Logits:
        """[images, features] to [images, 2]."""
        values: Floats = (features - self._shift) * self._scale
        for weight, bias in self._layers[:-1]:
            values = np.maximum(values @ weight + bias, 0)
        weight, bias = self._layers[-1]
        logits: Logits = values @ weight + bias
        return logits


class SharedTower:
    """`champion` and `challenger` are the two checkpoints on the one pass, both proven."""

    def __init__(self, champion: Inspector, folder: Path) -> None:
        """Raises CheckpointError when `folder` holds another tower, or it does not work out."""
        manifest = load_manifest(folder)
        if tower_of(champion.manifest) != tower_of(manifest):
            raise CheckpointError(f"{manifest.title} has another tower than the champion")
        self._forward = champion.runtime.with_features()
        self._head = SideHead(folder / manifest.head)
        self.champion = champion.on(_Side(self, 0, champion))
        self.challenger = Inspector(folder, manifest, _Side(self, 1, champion), champion.limits)
        for inspector in (self.champion, self.challenger):
            inspector.prove()

    @property
    def title(self) -> str:
        """Of the challenger."""
        return self.challenger.manifest.title

    def forward(self, views: Pixels) -> Logits:
        """uint8 [images, views, size, size, 3] to logits [images, 2 models, 2].

        Whatever befalls the second head: the first model's logits come, beside numbers that are
        not finite.
        """
        return self._judge(*self._forward(views))

    def embed(self, views: Pixels) -> list[Embedded]:
        """As `forward`, with the features; the logits of an image are [2 models, 2]."""
        logits, features = self._forward(views)
        return list(map(Embedded, self._judge(logits, features), features))

    def _judge(self, logits: Logits, features: Floats) -> Logits:
        both = np.full((len(logits), 2, 2), np.nan, np.float32)
        both[:, 0] = logits
        try:
            both[:, 1] = self._head(features)
        except Exception:  # the answer must not suffer; who reads the second logits will tell
            both[:, 1] = np.nan
        return both


class _Side:
    """One of the two as a `Runtime`."""

    def __init__(self, shared: SharedTower, which: int, champion: Inspector) -> None:
        self._shared, self._which = shared, which
        own = champion.runtime
        self.precision: Precision = own.precision
        self.variant, self.passes, self.batch = own.variant, own.passes, own.batch
        self.warm_up = own.warm_up

    def forward(self, views: Pixels) -> Logits:
        logits: Logits = self._shared.forward(views)[:, self._which]
        return logits

    def embed(self, views: Pixels) -> list[Embedded]:
        both = self._shared.embed(views)
        return [Embedded(found.logits[self._which], found.features) for found in both]

    def trace(self, views: Pixels) -> list[Trace]:
        raise NotImplementedError("a trace is asked of the checkpoint's own graph")

    def with_features(self) -> FeatureForward:
        raise NotImplementedError("a side has no graph of its own")
