"""OpenVINO graphs: of a torch module, with a head put on, and what is left when it is taken off."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from functools import cached_property
from pathlib import Path

import numpy as np
import openvino as ov
import torch
from numpy.typing import NDArray
from openvino import opset13 as ops
from timm.utils import reparameterize_model
from torch import nn

from shared.model.classifier import Head
from shared.model.decode import Pixels
from shared.model.manifest import Preprocess
from shared.model.runtime_openvino import pooled_parts

#: name of the tensor between tower and head, in every graph of ours
FEATURES = "features"


def to_openvino(module: nn.Module, preprocess: Preprocess) -> ov.Model:
    """A graph from uint8 views, of any number of images, to what `module` makes of them.

    Through torch.export: tracing open_clip's ViT fails OpenVINO's own check. Takes ten seconds and
    more, so it is done once a tower.
    """
    size, count = preprocess.size, preprocess.view_count
    example = torch.zeros((2, count, size, size, 3), dtype=torch.uint8)
    images = torch.export.Dim("images")
    # Branches that a tower has only to be trained (MobileCLIP) become one convolution.
    served = reparameterize_model(module.eval())
    program = torch.export.export(served, (example,), dynamic_shapes=({0: images},))
    return ov.convert_model(program)


def with_head(extractor: ov.Model, head: Head) -> ov.Model:
    """The graph that is served: `extractor`, then the arithmetic of a `Head` without layer norm."""
    features = extractor.output(0).get_node().input_value(0)
    features.get_tensor().set_names({FEATURES})
    tensors = {name: value.float().numpy() for name, value in head.state_dict().items()}
    values = ops.multiply(ops.subtract(features, tensors["shift"]), tensors["scale"])
    last = len(head.layers) - 1
    for number in range(last + 1):
        weight, bias = tensors[f"layers.{number}.weight"], tensors[f"layers.{number}.bias"]
        values = ops.add(ops.matmul(values, weight, False, True), bias)
        values = values if number == last else ops.relu(values)
    values.output(0).get_tensor().set_names({"logits"})  # else a number that counts up
    return ov.Model([ops.result(values)], extractor.get_parameters())


def without_head(classifier: ov.Model) -> ov.Model | None:
    """The extractor in a graph of `with_head`; None where the graph is another."""
    for node in classifier.get_ordered_ops():
        for output in node.outputs():
            if FEATURES in output.get_names():
                return ov.Model([ops.result(output)], classifier.get_parameters())
    return None


def mean_features(extractor: Path) -> NDArray[np.bool_]:
    """Of the features in the order of the graph: which are means of maps. Few graphs pool none."""
    model = ov.Core().read_model(extractor)
    count = model.output(0).get_partial_shape()[1].get_length()
    by_view: list[bool] = []
    for source in pooled_parts(model):
        width = source.output(0).get_partial_shape()[1].get_length()
        by_view += [source.get_type_name() == "ReduceMean"] * width
    if not by_view:
        return np.zeros(count, bool)
    # Of several views, the first, the largest and the mean: see `FeatureExtractor.combined`.
    return np.tile(by_view, count // len(by_view))


def save_graph(model: ov.Model, path: Path, *, half: bool = True) -> None:
    """Stored in half precision, which loses nothing where the weights were rounded before."""
    ov.save_model(model, path, compress_to_fp16=half)
    _forget_origin(path)


def _forget_origin(path: Path) -> None:
    """Drops notes on versions and paths, and names that count up: equal models, equal files."""
    tree = ET.parse(path)  # noqa: S314 written by us a moment ago
    tree.getroot().set("name", path.stem)
    for layer in tree.iter("layer"):
        layer.set("name", f"{layer.get('type')}_{layer.get('id')}")
    for parent in list(tree.iter()):
        for note in parent.findall("rt_info"):
            parent.remove(note)
    tree.write(path, encoding="utf-8", xml_declaration=True)


class Graph:
    """A graph file on this CPU, in f32; compiled when first asked, as all may be known already."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @cached_property
    def _request(self) -> ov.InferRequest:
        # Never left to the plugin: it picks bf16 by itself where the processor has it.
        precise = {"INFERENCE_PRECISION_HINT": "f32"}
        return ov.Core().compile_model(self._path, "CPU", precise).create_infer_request()

    def __call__(self, views: Pixels) -> NDArray[np.float32]:
        outputs = self._request.infer([np.ascontiguousarray(views)])
        return np.array(next(iter(outputs.values())), np.float32)


class OnGpu:
    """`module` on the GPU. Written by the documentation; it has not run on one yet."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module.cuda()

    def __call__(self, views: Pixels) -> NDArray[np.float32]:
        with torch.inference_mode():
            found: NDArray[np.float32] = (
                self._module(torch.from_numpy(views).cuda()).float().cpu().numpy()
            )
        return found
