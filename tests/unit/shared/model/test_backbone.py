"""Towers by name, tag or file, and never random weights in place of a model."""

from __future__ import annotations

import json
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from shared.errors import CheckpointError
from shared.model.backbone import empty_tower, load_backbone, pretrained_tower, tower_config
from shared.model.classifier import FeatureExtractor
from shared.model.manifest import Backbone, Features, Preprocess
from tests.checkpoints import TINY_MODEL

PREPROCESS = Preprocess(size=224, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


@pytest.fixture(scope="module")
def clip() -> nn.Module:
    """The real ViT-B-32 of CLIP, with weights of chance."""
    model: nn.Module = open_clip.create_model("ViT-B-32", pretrained=None).eval()
    return model


@pytest.fixture(scope="module")
def tower(clip: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> nn.Module:
    path = tmp_path_factory.mktemp("clip") / "clip.safetensors"
    save_file(clip.state_dict(), path)
    loaded = pretrained_tower("ViT-B-32", str(path))
    path.unlink()
    return loaded


@pytest.fixture(scope="module")
def views() -> torch.Tensor:
    seed = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (2, 1, 224, 224, 3), dtype=torch.uint8, generator=seed)


def test_clip_weights_from_a_file_are_the_weights(clip: nn.Module, tower: nn.Module) -> None:
    visual = clip.visual
    assert isinstance(visual, nn.Module)
    expected, found = visual.state_dict(), tower.state_dict()
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert not tower.training


def test_the_embedding_is_the_one_of_the_original(
    clip: nn.Module, tower: nn.Module, views: torch.Tensor
) -> None:
    pixels = (views[:, 0].permute(0, 3, 1, 2) / 255 - 0.5) / 0.25
    extractor = FeatureExtractor(tower, PREPROCESS, Features())
    with torch.inference_mode():
        original: torch.Tensor = clip.encode_image(pixels)  # type: ignore[operator]
        assert torch.allclose(extractor(views), original, atol=1e-4)


@pytest.mark.parametrize(
    ("depths", "embedding", "width"),
    [((), True, 512), ((0,), False, 1536), ((3, 11), False, 3072), ((3, 11), True, 3584)],
)
def test_maps_of_a_transformer_are_pooled(
    depths: tuple[int, ...], embedding: bool, width: int, tower: nn.Module, views: torch.Tensor
) -> None:
    features = Features(depths=depths, embedding=embedding)
    extractor = FeatureExtractor(tower, PREPROCESS, features)
    with torch.inference_mode():
        found = extractor(views[:1])
    assert found.shape == (1, width)
    assert found.isfinite().all()


def test_the_embedding_does_not_depend_on_the_depths(tower: nn.Module, views: torch.Tensor) -> None:
    both = FeatureExtractor(tower, PREPROCESS, Features(depths=(3,)))
    alone = FeatureExtractor(tower, PREPROCESS, Features())
    with torch.inference_mode():
        assert torch.allclose(both(views)[:, -512:], alone(views), atol=1e-5)


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (Path(tmp_path / "ran"),))  # type: ignore[return-value]

    torch.save({"state_dict": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(CheckpointError):
        pretrained_tower("RN50", str(tmp_path / "evil.pt"))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("source", ["", "no_such_tag", "/no/such/file.pt"])
def test_without_weights_there_is_no_model(source: str, checkpoint: Path) -> None:
    load_backbone(checkpoint, _spec())
    with pytest.raises(CheckpointError):
        pretrained_tower(TINY_MODEL, source)


def test_an_unknown_model_is_refused() -> None:
    with pytest.raises(CheckpointError, match="ViT-Q-99"):
        empty_tower("ViT-Q-99")


def _spec(model: str = TINY_MODEL) -> Backbone:
    return Backbone(model=model, config="backbone.json", weights="backbone.safetensors")


def test_a_config_of_ones_own_makes_a_tower(checkpoint: Path) -> None:
    tower = load_backbone(checkpoint, _spec("a-name-of-ones-own"))
    assert not tower.training
    assert "a-name-of-ones-own" in open_clip.list_models()


def test_a_second_checkpoint_of_the_same_name_gets_its_own_config(checkpoint: Path) -> None:
    load_backbone(checkpoint, _spec("twice"))
    other = tower_config("test_vit", 64)
    (checkpoint / "backbone.json").write_text(json.dumps(other))
    with pytest.raises(CheckpointError, match="does not fit"):
        load_backbone(checkpoint, _spec("twice"))


@pytest.mark.parametrize("text", ["", "[]", "{}", "not json"])
def test_a_damaged_config_is_refused(text: str, checkpoint: Path) -> None:
    (checkpoint / "backbone.json").write_text(text)
    with pytest.raises(CheckpointError):
        load_backbone(checkpoint, _spec("damaged"))


@pytest.mark.parametrize("data", [b"", b"junk" * 99])
def test_damaged_weights_are_refused(data: bytes, checkpoint: Path) -> None:
    (checkpoint / "backbone.safetensors").write_bytes(data)
    with pytest.raises(CheckpointError, match=r"backbone\.safetensors"):
        load_backbone(checkpoint, _spec())


def test_weights_of_another_model_are_refused(checkpoint: Path) -> None:
    save_file({"weight": torch.zeros(3)}, checkpoint / "backbone.safetensors")
    with pytest.raises(CheckpointError, match="does not fit"):
        load_backbone(checkpoint, _spec())
