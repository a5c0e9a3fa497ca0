"""torch: the reference on the CPU, and the way to a GPU.

CUDA paths were written by the documentation and have not run on a GPU yet.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import torch

from shared.errors import CheckpointError
from shared.model.classifier import load_classifier
from shared.model.decode import Pixels
from shared.model.evidence import Floats, Trace, split_traces
from shared.model.manifest import Manifest, Precision
from shared.model.runtime import Embedded, FeatureForward, Logits

_DTYPE = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}


class TorchRuntime:
    """See `shared.model.runtime.Runtime`."""

    passes = 1
    batch = 32

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        *,
        precision: Precision | Literal["auto"] = "f32",
        threads: int = 0,
    ) -> None:
        if threads:
            torch.set_num_threads(threads)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.precision: Precision = self._automatic() if precision == "auto" else precision
        if self.precision not in _DTYPE:
            raise CheckpointError(f"torch does not run {self.precision} checkpoints")
        self._model = load_classifier(folder, manifest).to(self._device)

    def _automatic(self) -> Precision:
        # bf16 on a CPU is slower than f32 for some batch sizes: never by default.
        if self._device.type == "cpu":
            return "f32"
        return "bf16" if torch.cuda.is_bf16_supported() else "f16"

    @property
    def variant(self) -> str:
        return f"torch/{self.precision}/{self._device.type}"

    def forward(self, views: Pixels) -> Logits:
        with self._context():
            logits: Logits = self._model(self._batch(views)).float().cpu().numpy()
        return logits

    def embed(self, views: Pixels) -> list[Embedded]:
        return list(map(Embedded, *self._with_features(views)))

    def with_features(self) -> FeatureForward:
        return self._with_features

    def _with_features(self, views: Pixels) -> tuple[Logits, Floats]:
        with self._context():
            features = self._model.extractor(self._batch(views))
            logits = self._model.head(features)
            return logits.float().cpu().numpy(), features.float().cpu().numpy()

    def trace(self, views: Pixels) -> list[Trace]:
        with self._context():
            logits, pooled, maps = self._model.trace(self._batch(views))
            arrays = [t.float().cpu().numpy() for t in (logits, pooled, *maps)]
        return split_traces(arrays[0], arrays[1], arrays[2:])

    def warm_up(self, views: Pixels) -> None:
        self.forward(views)

    def _batch(self, views: Pixels) -> torch.Tensor:
        batch = torch.from_numpy(views)
        if self._device.type == "cuda":
            batch = batch.pin_memory().to(self._device, non_blocking=True)
        return batch

    @contextmanager
    def _context(self) -> Iterator[None]:
        dtype = _DTYPE[self.precision]
        with (
            torch.inference_mode(),
            torch.autocast(self._device.type, dtype, enabled=dtype != torch.float32),
        ):
            yield
