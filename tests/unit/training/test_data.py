"""The folder that the rest learns from: drawn, or a copy of one's own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from training import data
from training.dataset import DataError
from training.params import Params
from training.workspace import Workspace


def test_the_synthetic_set_is_drawn_anew(
    photos: Path, params: Params, work: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def write(folder: Path, count: int, seed: int) -> None:
        asked.append((folder, count, seed))
        shutil.copytree(photos, folder)

    monkeypatch.setattr(data, "write_dataset", write)
    work.images.mkdir()
    (work.images / "left-over.png").touch()
    data.run(params.data, work)
    assert asked == [(work.images, 20, 1)]
    assert not (work.images / "left-over.png").exists()


def test_a_folder_of_ones_own_is_copied(photos: Path, params: Params, work: Workspace) -> None:
    own = params.data.model_copy(update={"source": str(photos)})
    data.run(own, work)
    assert (work.images / "scratches" / "0.png").read_bytes() == (
        photos / "scratches" / "0.png"
    ).read_bytes()


def test_a_wrong_source_leaves_what_was_there(params: Params, work: Workspace) -> None:
    work.images.mkdir()
    wrong = params.data.model_copy(update={"source": str(work.root / "nowhere")})
    with pytest.raises(DataError, match="nowhere is not a folder"):
        data.run(wrong, work)
    assert work.images.exists()


def test_a_missing_class_is_named_beside_what_there_is(tmp_path: Path) -> None:
    for name in ("scratches", "good"):
        (tmp_path / name).mkdir()
    with pytest.raises(DataError, match=r"no folder no_scratches/ \(it has good/, scratches/\)"):
        data.check_folder(tmp_path)
