"""Splits must be fair, repeatable and free of copies; what is left out is said."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from training.dataset import DataError, Index, load_index
from training.params import Params
from training.prepare import run, summary
from training.rowcache import RowCache
from training.workspace import Workspace


@pytest.fixture
def folder(photos: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(photos, tmp_path / "photos"))


def prepare(folder: Path, params: Params, work: Workspace) -> Index:
    return run(params.prepare, work, folder)


def test_every_class_has_its_share_of_every_split(
    photos: Path, params: Params, work: Workspace
) -> None:
    counts = Counter((i.label, i.split) for i in prepare(photos, params, work).images)
    found = {key: counts[key] for key in counts}
    assert all(3 <= found[label, "test"] <= 4 for label in ("scratches", "no_scratches"))
    assert all(3 <= found[label, "validation"] <= 4 for label in ("scratches", "no_scratches"))
    assert sum(found.values()) == 32


def test_the_index_repeats_and_survives_its_file(
    photos: Path, params: Params, work: Workspace
) -> None:
    index = prepare(photos, params, work)
    assert load_index(work.index) == index == prepare(photos, params, work)


def test_another_seed_splits_otherwise(photos: Path, params: Params, work: Workspace) -> None:
    other = params.prepare.model_copy(update={"seed": 2})
    assert prepare(photos, params, work).hash != run(other, work, photos).hash


def test_names_decide_nothing(folder: Path, params: Params, work: Workspace) -> None:
    before = prepare(folder, params, work).hash
    (folder / "scratches" / "0.png").rename(folder / "scratches" / "a photo without a suffix")
    assert prepare(folder, params, work).hash == before


def test_a_copy_counts_once_and_is_named(folder: Path, params: Params, work: Workspace) -> None:
    before = prepare(folder, params, work).hash
    shutil.copy(folder / "scratches" / "0.png", folder / "scratches" / "copy.png")
    index = prepare(folder, params, work)
    assert index.hash == before
    assert [(d.file, d.kind) for d in index.dropped] == [("scratches/copy.png", "duplicate")]


def test_a_broken_file_is_left_out_and_named(folder: Path, params: Params, work: Workspace) -> None:
    (folder / "scratches" / "notes.txt").write_text("not a photo")
    whole = (folder / "scratches" / "1.png").read_bytes()
    (folder / "scratches" / "1.png").write_bytes(whole[: len(whole) // 2])
    index = prepare(folder, params, work)
    assert {d.file for d in index.dropped} == {"scratches/notes.txt", "scratches/1.png"}
    assert {d.kind for d in index.dropped} == {"broken"}
    assert summary(index)["broken"] == 2
    assert len(index.images) == 31


def test_what_the_system_hides_is_no_photo(folder: Path, params: Params, work: Workspace) -> None:
    (folder / "scratches" / ".DS_Store").write_bytes(b"x")
    assert prepare(folder, params, work).dropped == ()


def test_near_duplicates_stay_on_one_side(folder: Path, params: Params, work: Workspace) -> None:
    for number in range(16):
        with Image.open(folder / "no_scratches" / f"{number}.png") as image:
            image.save(folder / "no_scratches" / f"{number} again.jpg", quality=90)
    index = prepare(folder, params, work)
    sides: dict[int, set[str]] = {}
    for image_ in index.images:
        sides.setdefault(image_.group, set()).add(image_.split)
    assert all(len(splits) == 1 for splits in sides.values())
    assert summary(index)["near_duplicates"] == 16
    assert summary(index)["largest_group"] == 2


def test_an_image_with_both_labels_is_refused(
    folder: Path, params: Params, work: Workspace
) -> None:
    shutil.copy(folder / "scratches" / "0.png", folder / "no_scratches" / "copy.png")
    with pytest.raises(DataError, match=r"scratches/0.png .* both labels"):
        prepare(folder, params, work)


def test_too_few_photos_are_refused_and_the_broken_ones_named(
    folder: Path, params: Params, work: Workspace
) -> None:
    for number in range(9):
        (folder / "scratches" / f"{number}.png").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"scratches has 7 usable photos, needs 8.*scratches/0.png"):
        prepare(folder, params, work)


def _comment(number: int) -> PngInfo:
    info = PngInfo()
    info.add_text("number", str(number))
    return info


def test_photos_of_one_scene_are_refused(folder: Path, params: Params, work: Workspace) -> None:
    with Image.open(folder / "scratches" / "0.png") as image:
        for number in range(1, 16):
            brighter = Image.fromarray(np.asarray(image) + np.uint8(number // 4))
            brighter.save(folder / "scratches" / f"{number}.png", pnginfo=_comment(number))
    with pytest.raises(DataError, match="the same scene"):
        prepare(folder, params, work)


def test_a_cache_keeps_what_several_runs_add(tmp_path: Path) -> None:
    cache = RowCache(tmp_path / "rows")
    cache.add({"a": np.array([1.0, 2.0])})
    cache.add({"b": np.array([3.0, 4.0])})
    found = cache.load(["b", "a", "c"])
    assert {name: row.tolist() for name, row in found.items()} == {"a": [1, 2], "b": [3, 4]}
