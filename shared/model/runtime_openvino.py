"""OpenVINO on the CPU: the default where there is no GPU. Needs no torch."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Any, Literal

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

#: name of the tensor between tower and head, in the graphs that `training.graph` makes
_FEATURES = "features"
#: an int8 graph computes in int8 by its own operations; the hint rules the rest of it
_HINT = {"f32": "f32", "int8": "f32", "bf16": "bf16"}

#: images beyond which a pass on a CPU gains nothing, by whether the graph is light
_BATCH = {True: 4, False: 8}
#: bytes of weights that a processor's caches keep: to use them for several images gains nothing
_LIGHT = 16 * 2**20
#: streams, unless more are asked for: one Python process feeds no more
_STREAMS = 4
#: passes of a light graph for each stream: one runs, the other is at hand when it ends
_AHEAD = 2


class OpenVinoRuntime:
    """See `shared.model.runtime.Runtime`.

    A light graph on streams of one thread is compiled for one image: to work out the shapes anew in
    each pass would cost it a tenth.
    """

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        *,
        precision: Precision | Literal["auto"] = "f32",
        threads: int = 0,
        streams: int = 1,
    ) -> None:
        self.precision: Precision = _automatic(manifest) if precision == "auto" else precision
        graph = manifest.openvino.get("f32" if self.precision == "bf16" else self.precision)
        if graph is None or self.precision not in _HINT:
            raise CheckpointError(f"{folder} has no OpenVINO graph for {self.precision}")
        threads = threads or len(os.sched_getaffinity(0))
        streams = streams or min(threads, _STREAMS)
        self._config = {
            # Never left to the plugin: it picks bf16 by itself where the processor has it.
            "INFERENCE_PRECISION_HINT": _HINT[self.precision],
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": max(threads, streams),
            # Every process would pin its threads to the same first cores.
            "ENABLE_CPU_PINNING": False,
        }
        self._file = folder / graph
        try:
            model = ov.Core().read_model(self._file)
            self._features_of = show_features(model, folder / manifest.head)
            light = self._file.with_suffix(".bin").stat().st_size < _LIGHT
            self.batch = 1 if light and threads <= streams else _BATCH[light]
            self.passes = streams * (_AHEAD if self.batch == 1 else 1)
            if self.batch == 1:
                spec = manifest.preprocess
                model.reshape([1, spec.view_count, spec.size, spec.size, 3])
            self._graph = _Graph(model, self._config, self.passes)
        except RuntimeError as error:
            raise CheckpointError(f"{folder / graph}: OpenVINO refuses it: {error}") from error
        self._tracing: _Graph | None = None
        self._compiling = Lock()

    @property
    def variant(self) -> str:
        return f"openvino/{self.precision}/cpu"

    def forward(self, views: Pixels) -> Logits:
        return self._graph(views)[0]

    def embed(self, views: Pixels) -> list[Embedded]:
        if self._features_of is None:
            return [Embedded(logits) for logits in self.forward(views)]
        return list(map(Embedded, *self._with_features(views)))

    def with_features(self) -> FeatureForward:
        if self._features_of is None:
            raise CheckpointError("the graph does not show where its head begins")
        return self._with_features

    def _with_features(self, views: Pixels) -> tuple[Logits, Floats]:
        logits, shown = self._graph(views)
        assert self._features_of  # noqa: S101
        return logits, self._features_of(shown)

    def trace(self, views: Pixels) -> list[Trace]:
        with self._compiling:
            if self._tracing is None:  # when first asked for: plain answers never pay for it
                model = with_maps(ov.Core().read_model(self._file))
                self._tracing = _Graph(model, self._config, self.passes)
        logits, *rest = self._tracing(views)
        if not rest:
            return split_traces(logits, logits, [])
        return split_traces(logits, rest[0], rest[1:])

    def warm_up(self, views: Pixels) -> None:
        self._graph.warm_up(views)


class _Graph:
    """A compiled graph, called from any thread: a request for each of its passes.

    A stream of one thread waits for no other: with as many streams as cores, a core that is taken
    away for a while, by the api say, holds up one batch and not both halves of all. But one that
    finds all of them idle is alone, and of a light graph there is a copy for it on all threads.
    """

    def __init__(self, model: ov.Model, config: dict[str, Any], passes: int) -> None:
        self._of_one = not model.is_dynamic()
        self._passes = passes
        self._free = _requests(model, config, passes)
        self._wide: SimpleQueue[ov.InferRequest] = SimpleQueue()
        if self._of_one and config["NUM_STREAMS"] > 1:
            self._wide = _requests(model, {**config, "NUM_STREAMS": 1}, 1)

    def __call__(self, views: Pixels) -> list[Floats]:
        """uint8 [images, views, size, size, 3] to one array an output, images first."""
        free, request = self._take()
        try:
            if self._of_one and len(views) > 1:
                each = [_infer(request, view[None]) for view in views]
                return [np.concatenate(outputs) for outputs in zip(*each, strict=True)]
            return _infer(request, views)
        finally:
            free.put(request)

    def _take(self) -> tuple[SimpleQueue[ov.InferRequest], ov.InferRequest]:
        """A request, and where it is to be put back."""
        if self._free.qsize() == self._passes:
            with suppress(Empty):
                return self._wide, self._wide.get_nowait()
        return self._free, self._free.get()

    def warm_up(self, views: Pixels) -> None:
        """On every stream at once, before there is anything else to do."""
        for free in (self._free, self._wide):
            requests = [free.get() for _ in range(free.qsize())]
            for request in requests:
                request.start_async(views[:1] if self._of_one else views, share_inputs=True)
            for request in requests:
                request.wait()
                free.put(request)


def _requests(model: ov.Model, config: dict[str, Any], number: int) -> SimpleQueue[ov.InferRequest]:
    compiled = ov.Core().compile_model(model, "CPU", config)
    free: SimpleQueue[ov.InferRequest] = SimpleQueue()
    for _ in range(number):
        free.put(compiled.create_infer_request())
    return free


def _infer(request: ov.InferRequest, views: Pixels) -> list[Floats]:
    """On a thread of OpenVINO's own: it goes on with the next request without waiting for ours."""
    request.start_async(views, share_inputs=True)
    request.wait()
    return [tensor.data.copy() for tensor in request.output_tensors]


def _automatic(manifest: Manifest) -> Precision:
    """The fastest that this processor computes and the checkpoint was measured in."""
    has = ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if "int8" in manifest.openvino and "INT8" in has:  # shipped only if it loses next to nothing
        return "int8"
    # Where photos were held out, promises and references are of one precision and hold in no other.
    promised = "bf16" in manifest.certificates or not manifest.references
    return "bf16" if "BF16" in has and "bf16" in manifest.tolerance and promised else "f32"


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

    A graph in which no maps are pooled stays as it is.
    """
    parts = pooled_parts(model)
    if parts:
        joined = next(iter(parts[0].output(0).get_target_inputs())).get_node()
        maps = [_unquantised(part) for part in parts if _is_pooling(part, "ReduceMean")]
        model.add_outputs([joined.output(0), *maps])
    return model


def pooled_parts(model: ov.Model) -> list[ov.Node]:
    """What the pooled features of a view are joined of, in their order; nothing where none are.

    Found by their shape in any graph that `Classifier` was exported to: one Concat that joins the
    mean and the maximum over the positions of each map, in the order of the depths. In int8 the
    mean is of the map as it was quantised: the map before that is the one.
    """
    for node in model.get_ordered_ops():
        if node.get_type_name() != "Concat":
            continue
        parts = [value.get_node() for value in node.input_values()]
        maps = [_unquantised(part) for part in parts if _is_pooling(part, "ReduceMean")]
        peaks = [_unquantised(part) for part in parts if _is_pooling(part, "ReduceMax")]
        if maps and maps == peaks:
            return parts
    return []


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
