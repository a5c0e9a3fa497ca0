from __future__ import annotations

import numpy as np
import openvino as ov
import torch
from torch import Tensor, nn

from shared.model.manifest import Preprocess
from training.graph import to_openvino

SPEC = Preprocess(size=32, mean=(0.5,) * 3, std=(0.5,) * 3)


class Branches(nn.Module):
    """As MobileCLIP's blocks: branches to be trained, one convolution to be served."""

    def __init__(self) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Conv2d(3, 4, 3) for _ in range(3))

    def forward(self, pixels: Tensor) -> Tensor:
        found: Tensor = sum(branch(pixels) for branch in self.branches)  # type: ignore[assignment]
        return found

    def reparameterize(self) -> None:
        one = nn.Conv2d(3, 4, 3)
        one.weight.data = sum(branch.weight.data for branch in self.branches)  # type: ignore[assignment]
        one.bias.data = sum(branch.bias.data for branch in self.branches)  # type: ignore[assignment]
        self.branches = nn.ModuleList([one])


class Tower(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = Branches()

    def forward(self, views: Tensor) -> Tensor:
        found: Tensor = self.block(views.flatten(0, 1).permute(0, 3, 1, 2).float()).mean((2, 3))
        return found


def test_branches_of_training_are_served_as_one_and_answer_the_same() -> None:
    torch.manual_seed(0)
    tower = Tower()
    graph = to_openvino(tower, SPEC)

    kinds = [node.get_type_name() for node in graph.get_ordered_ops()]
    assert kinds.count("Convolution") == 1
    assert len(tower.block.branches) == 3  # what is trained on stays as it was
    views = np.random.default_rng(0).integers(0, 256, (2, 1, 32, 32, 3), np.uint8)
    with torch.inference_mode():
        expected = tower(torch.from_numpy(views)).numpy()
    (found,) = (
        ov.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([views]).values()
    )
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
