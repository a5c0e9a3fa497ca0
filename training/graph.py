"""torch module to OpenVINO graph: for export, and to compute features fast on a CPU."""

from __future__ import annotations

import numpy as np
import openvino as ov
import torch
from numpy.typing import NDArray
from torch import nn

from shared.model.decode import Pixels
from shared.model.manifest import Preprocess


def to_openvino(module: nn.Module, preprocess: Preprocess) -> ov.Model:
    """A graph from uint8 views, of any number of images, to what `module` makes of them.

    Through torch.export: tracing open_clip's ViT fails OpenVINO's own check.
    """
    size, count = preprocess.size, preprocess.view_count
    example = torch.zeros((2, count, size, size, 3), dtype=torch.uint8)
    images = torch.export.Dim("images")
    program = torch.export.export(module.eval(), (example,), dynamic_shapes=({0: images},))
    return ov.convert_model(program)


class FastModule:
    """`module` on the GPU if there is one, else through OpenVINO, which outruns torch on a CPU."""

    def __init__(self, module: nn.Module, preprocess: Preprocess) -> None:
        self._module = module.cuda() if torch.cuda.is_available() else None
        if self._module is None:
            graph = to_openvino(module, preprocess)
            # Never left to the plugin: it picks bf16 by itself where the processor has it.
            precise = {"INFERENCE_PRECISION_HINT": "f32"}
            self._request = ov.compile_model(graph, "CPU", precise).create_infer_request()

    def __call__(self, views: Pixels) -> NDArray[np.float32]:
        if self._module is None:
            outputs = self._request.infer([np.ascontiguousarray(views)])
            return np.array(next(iter(outputs.values())), np.float32)
        with torch.inference_mode():
            found: NDArray[np.float32] = (
                self._module(torch.from_numpy(views).cuda()).float().cpu().numpy()
            )
        return found
