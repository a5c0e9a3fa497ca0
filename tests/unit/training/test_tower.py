"""What is shipped must compute what the pretrained tower computes."""

from __future__ import annotations

import pytest
import timm
import torch

from shared.errors import CheckpointError
from training.params import EmbedParams, Params
from training.tower import fold_batch_norms, lite0_weights, load_extractor, write_extractor
from training.workspace import Workspace


def lite0() -> torch.nn.Module:
    tower: torch.nn.Module = timm.create_model("tf_efficientnet_lite0", num_classes=0).eval()
    tower.load_state_dict(lite0_weights(tower))
    return tower


def test_folding_changes_no_answer() -> None:
    tower = lite0()
    image = torch.rand((1, 3, 64, 64), generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        before = tower(image)
        fold_batch_norms(tower)
        after = tower(image)
    assert before.abs().max() > 1  # real weights: not a dead network
    assert torch.allclose(before, after, atol=1e-3)


def test_weights_of_another_tower_are_refused() -> None:
    with pytest.raises(ValueError, match="does not hold"):
        lite0_weights(timm.create_model("test_efficientnet", num_classes=0))


def test_the_tower_is_the_same_from_run_to_run(params: Params, work: Workspace) -> None:
    towers = []
    for name in "ab":
        folder = work.root / name
        extractor = load_extractor(folder, write_extractor(folder, params.embed))
        towers.append(extractor.tower.state_dict())
    for name, value in towers[0].items():
        assert torch.equal(value, towers[1][name]), name


def test_a_tag_is_asked_of_open_clip(params: Params, work: Workspace) -> None:
    asked = params.embed.model_dump() | {"tower": {"model": "ViT-B-32", "tag": "no-such-tag"}}
    spec = write_extractor(work.extractor, EmbedParams.model_validate(asked))
    assert (spec.backbone.tag, spec.backbone.weights) == ("no-such-tag", None)
    with pytest.raises(CheckpointError):
        load_extractor(work.extractor, spec)
