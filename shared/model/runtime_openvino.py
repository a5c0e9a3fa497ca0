"""OpenVINO on the CPU: the default where there is no GPU. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import openvino as ov
from safetensors.numpy import load_file

from shared.errors import CheckpointError
from shared.model.decode import Pixels
from shared.model.evidence import Floats, Trace, split_traces
from shared.model.manifest import Manifest, Precision
from shared.model.runtime import Embedded, FeatureForward, Logits

#: what the graph shows, [images, features], to the features themselves
FeaturesOf = Callable[[Floats], Floats]

#: an int8 graph computes in int8 by its own operations; the hint rules the rest of it
#: name of the tensor between tower and head, in the graphs that `training.graph` makes
_FEATURES = "features"
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
            model = ov.Core().read_model(folder / graph)
            self._features_of = show_features(model, folder / manifest.head)
            self._compiled = ov.Core().compile_model(model, "CPU", config)
        except RuntimeError as error:
            raise CheckpointError(f"{folder / graph}: OpenVINO refuses it: {error}") from error
        self._request = self._compiled.create_infer_request()
        self._graph, self._config = folder / graph, config
        self._tracing: ov.InferRequest | None = None

    @property
    def variant(self) -> str:
        return f"openvino/{self.precision}/cpu"

    def forward(self, views: Pixels) -> Logits:
        outputs = self._request.infer([np.ascontiguousarray(views)])
        return np.array(next(iter(outputs.values())), np.float32)

    def embed(self, views: Pixels) -> list[Embedded]:
        if self._features_of is None:
            return [Embedded(logits) for logits in self.forward(views)]
        return list(map(Embedded, *_both(self._request, self._features_of, views)))

    def with_features(self) -> FeatureForward:
        if self._features_of is None:
            raise CheckpointError("the graph does not show where its head begins")
        return partial(_both, self._compiled.create_infer_request(), self._features_of)

    def trace(self, views: Pixels) -> list[Trace]:
        if self._tracing is None:  # compiled when first asked for: plain answers never pay for it
            model = with_maps(ov.Core().read_model(self._graph))
            compiled = ov.Core().compile_model(model, "CPU", self._config)
            self._tracing = compiled.create_infer_request()
        outputs = self._tracing.infer([np.ascontiguousarray(views)])
        logits, *rest = (np.array(output, np.float32) for output in outputs.values())
        if not rest:
            return split_traces(logits, logits, [])
        return split_traces(logits, rest[0], rest[1:])


def _both(
    request: ov.InferRequest, features_of: FeaturesOf, views: Pixels
) -> tuple[Logits, Floats]:
    """Logits and features of a graph that `show_features` has opened."""
    outputs = request.infer([np.ascontiguousarray(views)])
    logits, shown = (np.array(output, np.float32) for output in outputs.values())
    return logits, features_of(shown)


def show_features(model: ov.Model, head: Path) -> FeaturesOf | None:
    """Gives the graph one more output, and says how to get what the head sees from it.

    By the name of the tensor, or else by what the first of the head's layers is fed. None, and the
    graph as it was, where neither is there.
    """
    for node in model.get_ordered_ops():
        for output in node.outputs():
            if _FEATURES in output.get_names():
                model.add_outputs([output])
                return lambda shown: shown
    tensors = load_file(head)
    layers = sum(name.startswith("layers.") and name.endswith(".bias") for name in tensors)
    fed = _standardised(model, layers)
    if fed is None or not {"shift", "scale"} <= tensors.keys():
        return None
    shift, scale = (tensors[name].astype(np.float32) for name in ("shift", "scale"))
    if fed.get_partial_shape().rank != 2 or fed.get_partial_shape()[1] != len(shift):
        return None
    model.add_outputs([fed])
    return lambda shown: shown / scale + shift


def with_maps(model: ov.Model) -> ov.Model:
    """The graph with more outputs: the pooled features, then the maps they were pooled from.

    Found by their shape in any graph that `Classifier` was exported to: one Concat that joins the
    mean and the maximum over the positions of each map, in the order of the depths. In int8 the
    mean is of the map as it was quantised: the map before that is the one. A graph without such a
    Concat (no maps are pooled) stays as it is.
    """
    for node in model.get_ordered_ops():
        if node.get_type_name() != "Concat":
            continue
        sources = [value.get_node() for value in node.input_values()]
        maps = [_unquantised(source) for source in sources if _is_pooling(source, "ReduceMean")]
        peaks = [_unquantised(source) for source in sources if _is_pooling(source, "ReduceMax")]
        if maps and maps == peaks:
            model.add_outputs([node.output(0), *maps])
            return model
    return model


def _standardised(model: ov.Model, layers: int) -> ov.Output | None:
    """What the first of the head's linear layers is fed; found by walking back from the logits.

    The step before it, from the features, looks different in each graph: converters rearrange it.
    """
    node = model.get_results()[0]
    while layers:
        if not node.get_input_size():
            return None
        node = node.input_value(0).get_node()
        layers -= node.get_type_name() == "MatMul"
    return node.input_value(0)


def _unquantised(pooling: ov.Node) -> ov.Output:
    """What is pooled, before any rounding to int8."""
    source = pooling.input_value(0)
    while source.get_node().get_type_name() == "FakeQuantize":
        source = source.get_node().input_value(0)
    return source


def _is_pooling(node: ov.Node, kind: str) -> bool:
    """Over the positions of a map, [images, channels, rows, columns]."""
    return bool(node.get_type_name() == kind and node.input_value(0).get_partial_shape().rank == 4)
