"""The reference model: pooling over views, the head, and independence within a batch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from shared.errors import CheckpointError
from shared.model.classifier import FeatureExtractor, Head, load_classifier
from shared.model.manifest import Features, Preprocess, load_manifest

PLAIN = Preprocess(size=32, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


class MeanColour(nn.Module):
    """A tower whose embedding can be worked out by hand."""

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels.mean((2, 3))


def _views(*greys: list[int]) -> Tensor:
    values = torch.tensor(greys, dtype=torch.uint8)[:, :, None, None, None]
    return values.expand(*values.shape[:2], 32, 32, 3)


def test_one_view_gives_its_embedding() -> None:
    found = FeatureExtractor(MeanColour(), PLAIN, Features())(_views([51], [255]))
    assert torch.allclose(found, torch.tensor([[0.2] * 3, [1.0] * 3]))


def test_several_views_give_the_first_the_largest_and_the_mean() -> None:
    found = FeatureExtractor(MeanColour(), PLAIN, Features())(_views([51, 255, 0]))
    assert torch.allclose(found[0, ::3], torch.tensor([0.2, 1.0, 0.4]))


def test_mean_and_std_apply_to_values_up_to_one() -> None:
    spec = PLAIN.model_copy(update={"mean": (0.2, 0.2, 0.2), "std": (0.4, 0.4, 0.4)})
    found = FeatureExtractor(MeanColour(), spec, Features())(_views([255]))
    assert torch.allclose(found, torch.full((1, 3), 2.0))


def test_a_batch_does_not_change_an_answer(checkpoint: Path) -> None:
    model = load_classifier(checkpoint, load_manifest(checkpoint))
    seed = torch.Generator().manual_seed(0)
    views = torch.randint(0, 256, (5, 5, 64, 64, 3), dtype=torch.uint8, generator=seed)
    with torch.inference_mode():
        alone = torch.cat([model(view[None]) for view in views])
        assert torch.allclose(model(views), alone, atol=1e-5)
        assert torch.allclose(model(views.flip(0)), alone.flip(0), atol=1e-5)
    assert not model.training


@pytest.mark.parametrize(("hidden", "norm"), [(0, False), (7, False), (7, True)])
def test_a_head_survives_its_file(hidden: int, norm: bool, tmp_path: Path) -> None:
    head, features = Head(5, hidden, norm=norm), torch.ones(3, 5)
    head.shift.fill_(0.5)
    save_file(head.state_dict(), tmp_path / "head.safetensors")
    again = Head.from_file(tmp_path / "head.safetensors")
    assert torch.equal(again(features), head(features))
    assert again(features).shape == (3, 2)


def test_a_head_standardises_its_features() -> None:
    head = Head(2)
    head.shift.copy_(torch.tensor([1.0, 2.0]))
    head.scale.copy_(torch.tensor([2.0, 0.5]))
    expected = head.layers[0](torch.tensor([[4.0, 1.0]]))
    assert torch.allclose(head(torch.tensor([[3.0, 4.0]])), expected)


def test_a_layer_norm_stands_before_the_relu() -> None:
    head, features = Head(5, 7, norm=True), torch.randn(3, 5)
    linear, last = head.layers
    nn.init.normal_(head.norm.weight)
    expected = last(torch.relu(nn.functional.layer_norm(linear(features), (7,), head.norm.weight)))
    assert torch.allclose(head(features), expected)


@pytest.mark.parametrize(
    "tensors",
    [
        {"shift": torch.zeros(3)},
        {"layers.0.weight": torch.zeros(2, 3)},
        Head(3).state_dict() | {"scale": torch.ones(4)},
        Head(3).state_dict() | {"layers.0.weight": torch.zeros(3, 3)},
        Head(3).state_dict() | {"more": torch.zeros(1)},
    ],
)
def test_what_is_no_head_is_refused(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    save_file(tensors, tmp_path / "head.safetensors")
    with pytest.raises(CheckpointError, match=r"head\.safetensors"):
        Head.from_file(tmp_path / "head.safetensors")


def test_a_damaged_head_is_refused(tmp_path: Path) -> None:
    (tmp_path / "head.safetensors").write_bytes(b"junk" * 9)
    with pytest.raises(CheckpointError):
        Head.from_file(tmp_path / "head.safetensors")
