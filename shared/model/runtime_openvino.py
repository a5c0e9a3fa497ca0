"""OpenVINO on the CPU: the default where there is no GPU. Needs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import openvino as ov

from shared.errors import CheckpointError
from shared.model.decode import Pixels
from shared.model.manifest import Manifest, Precision
from shared.model.runtime import Logits

#: an int8 graph computes in int8 by its own operations; the hint rules the rest of it
_HINT = {"f32": "f32", "int8": "f32", "bf16": "bf16"}


class OpenVinoRuntime:
    """See `shared.model.runtime.Runtime`."""

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        *,
        precision: Precision | Literal["auto"] = "auto",
        threads: int = 0,
    ) -> None:
        self.precision: Precision = "f32" if precision == "auto" else precision
        graph = manifest.openvino.get("f32" if self.precision == "bf16" else self.precision)
        if graph is None or self.precision not in _HINT:
            raise CheckpointError(f"{folder} has no OpenVINO graph for {self.precision}")
        # Never left to the plugin: it picks bf16 by itself where the processor has it.
        config = {
            "INFERENCE_PRECISION_HINT": _HINT[self.precision],
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
        }
        try:
            compiled = ov.Core().compile_model(folder / graph, "CPU", config)
        except RuntimeError as error:
            raise CheckpointError(f"{folder / graph}: OpenVINO refuses it: {error}") from error
        self._request = compiled.create_infer_request()

    @property
    def variant(self) -> str:
        return f"openvino/{self.precision}/cpu"

    def forward(self, views: Pixels) -> Logits:
        outputs = self._request.infer([np.ascontiguousarray(views)])
        return np.array(next(iter(outputs.values())), np.float32)
