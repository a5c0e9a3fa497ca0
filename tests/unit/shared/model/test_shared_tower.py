"""Two checkpoints on one forward pass answer as each does alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from shared.errors import CheckpointError
from shared.model.decode import Pixels
from shared.model.inspector import Inspector, open_inspector
from shared.model.manifest import MANIFEST, sha256_of
from shared.model.runtime import RuntimeName
from shared.model.shared_tower import SharedTower
from tests.checkpoints import tiny_checkpoint


@pytest.fixture
def sibling(tmp_path: Path) -> Path:
    return tiny_checkpoint(tmp_path / "b", grids=(1, 2), head_seed=9, name="sibling")


def opened(folder: Path, runtime: RuntimeName = "openvino") -> Inspector:
    return open_inspector(folder, runtime=runtime)


def views(images: int) -> Pixels:
    return np.random.default_rng(images).integers(0, 256, (images, 5, 64, 64, 3), np.uint8)


@pytest.mark.parametrize("runtime", ["torch", "openvino"])
def test_both_answer_as_each_does_alone(
    runtime: RuntimeName, checkpoint: Path, sibling: Path
) -> None:
    champion, alone = opened(checkpoint, runtime), opened(sibling, "torch")

    both = SharedTower(champion, sibling).forward(views(3))

    assert both.shape == (3, 2, 2)
    assert np.abs(both[:, 0] - champion.forward(views(3))).max() < 1e-5
    assert np.abs(both[:, 1] - alone.forward(views(3))).max() < 1e-4
    assert np.abs(both[:, 0] - both[:, 1]).max() > 0.01


def test_the_features_come_along(checkpoint: Path, sibling: Path) -> None:
    tower = SharedTower(opened(checkpoint), sibling)

    found = tower.embed(views(2))

    alone = opened(checkpoint).embed(views(2))
    assert np.array_equal([one.logits for one in found], tower.forward(views(2)))
    assert np.allclose([one.features for one in found], [one.features for one in alone], atol=1e-5)
    assert np.array_equal(tower.challenger.embed(views(2))[1].logits, found[1].logits[1])


def test_the_challenger_can_be_asked_alone(checkpoint: Path, sibling: Path) -> None:
    tower = SharedTower(opened(checkpoint), sibling)

    assert np.array_equal(tower.challenger.forward(views(2)), tower.forward(views(2))[:, 1])
    assert tower.title == tower.challenger.manifest.title != tower.champion.manifest.title


@pytest.mark.parametrize("changes", [{"seed": 3}, {"grids": (1,)}])
def test_another_tower_or_other_views_are_refused(
    checkpoint: Path, tmp_path: Path, changes: dict[str, object]
) -> None:
    other = tiny_checkpoint(tmp_path / "c", **({"grids": (1, 2)} | changes))  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match="another tower"):
        SharedTower(opened(checkpoint), other)


def change_head(folder: Path, **tensors: np.ndarray) -> None:  # type: ignore[type-arg]
    file = folder / "head.safetensors"
    save_file(load_file(file) | tensors, file)
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["sha256"][file.name] = sha256_of(file)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def test_a_head_that_does_not_reproduce_its_goldens_is_refused(
    checkpoint: Path, sibling: Path
) -> None:
    change_head(sibling, **{"layers.0.bias": np.array([3, -3], np.float32)})
    with pytest.raises(CheckpointError, match="expected"):
        SharedTower(opened(checkpoint), sibling)


def test_a_head_of_another_kind_is_refused(checkpoint: Path, sibling: Path) -> None:
    change_head(sibling, **{"norm.weight": np.ones(2, np.float32)})
    with pytest.raises(CheckpointError, match="plain layers"):
        SharedTower(opened(checkpoint), sibling)


def test_a_broken_second_head_leaves_the_first_answer_alone(
    checkpoint: Path, sibling: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    champion = opened(checkpoint)
    tower = SharedTower(champion, sibling)

    def broken(features: object) -> None:
        raise MemoryError

    monkeypatch.setattr(tower, "_head", broken)
    both = tower.forward(views(2))

    assert np.array_equal(both[:, 0], champion.forward(views(2)))
    assert np.isnan(both[:, 1]).all()


def test_a_graph_without_a_head_is_not_cut(
    checkpoint: Path, sibling: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    champion = opened(checkpoint)
    monkeypatch.setattr(champion.runtime, "_features_of", None)

    with pytest.raises(CheckpointError, match="where its head begins"):
        SharedTower(champion, sibling)
