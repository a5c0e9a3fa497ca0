"""Splits must be fair, repeatable and free of copies."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from training import data
from training.data import load_index, make_index
from training.params import Params
from training.workspace import Workspace


@pytest.fixture
def folder(photos: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(photos, tmp_path / "photos"))


def test_every_class_has_its_share_of_every_split(photos: Path, params: Params) -> None:
    counts = Counter((i.label, i.split) for i in make_index(photos, params.data).images)
    for label in ("scratches", "no_scratches"):
        assert [counts[label, split] for split in ("train", "validation", "test")] == [10, 3, 3]


def test_the_index_repeats_and_survives_its_file(
    photos: Path, params: Params, work: Workspace
) -> None:
    index = data.run(params.data, work, photos)
    assert load_index(work.index) == index == make_index(photos, params.data)


def test_another_seed_splits_otherwise(photos: Path, params: Params) -> None:
    other = params.data.model_copy(update={"seed": 2})
    assert make_index(photos, params.data).hash != make_index(photos, other).hash


def test_names_decide_nothing(folder: Path, params: Params) -> None:
    before = make_index(folder, params.data).hash
    (folder / "scratches" / "0.png").rename(folder / "scratches" / "zzz.PNG")
    assert make_index(folder, params.data).hash == before


def test_a_copy_counts_once(folder: Path, params: Params) -> None:
    before = make_index(folder, params.data).hash
    shutil.copy(folder / "scratches" / "0.png", folder / "scratches" / "copy.png")
    assert make_index(folder, params.data).hash == before


def test_an_image_with_both_labels_is_refused(folder: Path, params: Params) -> None:
    shutil.copy(folder / "scratches" / "0.png", folder / "no_scratches" / "copy.png")
    with pytest.raises(ValueError, match="both labels"):
        make_index(folder, params.data)


def test_a_missing_class_is_refused(folder: Path, params: Params) -> None:
    shutil.rmtree(folder / "no_scratches")
    with pytest.raises(ValueError, match="no_scratches: 0 different images"):
        make_index(folder, params.data)


def test_without_a_folder_the_synthetic_set_is_drawn(
    photos: Path, params: Params, work: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def write(folder: Path, count: int, seed: int) -> None:
        asked.append((folder, count, seed))
        shutil.copytree(photos, folder)

    monkeypatch.setattr(data, "write_dataset", write)
    work.images.mkdir()
    (work.images / "left-over.png").touch()
    index = data.run(params.data, work)
    assert asked == [(work.images, 20, 1)]
    assert index.root == work.images
    assert not (work.images / "left-over.png").exists()
