"""Features are computed once, by the serving code, and only for what can be read."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.model.decode import Pixels
from shared.model.manifest import Preprocess
from training import data
from training.embed import Features, collect, embed, identity_of
from training.params import Params
from training.tower import read_spec, write_extractor
from training.workspace import Workspace


class MeanColour:
    """Stands for a tower; counts what it is shown."""

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, views: Pixels) -> NDArray[np.float32]:
        self.seen += len(views)
        return views.mean((1, 2, 3)).astype(np.float32)


def test_what_is_known_is_not_computed_again(photos: Path, params: Params, work: Workspace) -> None:
    index = data.run(params.data, work, photos)
    spec = write_extractor(work.extractor, params.embed)
    extract = MeanColour()
    first = embed(index, spec, extract, {}, batch=5)
    assert extract.seen == len(first) == len(index.images)
    again = embed(index, spec, extract, first, batch=5)
    assert extract.seen == len(index.images)
    assert again.keys() == first.keys()


def test_rows_keep_the_order_of_the_index(photos: Path, params: Params, work: Workspace) -> None:
    index = data.run(params.data, work, photos)
    spec = write_extractor(work.extractor, params.embed)
    rows = embed(index, spec, MeanColour(), {}, batch=5)
    features = collect(index, rows, "x")
    assert features.sha256.tolist() == [image.sha256 for image in index.images]
    alone = embed(index, spec, MeanColour(), {}, batch=1)
    np.testing.assert_array_equal(features.values, collect(index, alone, "x").values)


def test_an_unreadable_image_is_left_out_and_said(
    photos: Path, params: Params, work: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Path(shutil.copytree(photos, work.root / "photos"))
    (folder / "scratches" / "broken.jpg").write_bytes(b"no image")
    index = data.run(params.data, work, folder)
    spec = write_extractor(work.extractor, params.embed)
    rows = embed(index, spec, MeanColour(), {}, batch=5)
    assert len(rows) == len(index.images) - 1
    assert "broken.jpg is left out" in caplog.text
    assert len(collect(index, rows, "x").labels) == len(rows)


def test_features_survive_their_file(work: Workspace) -> None:
    features = Features(
        values=np.eye(2, dtype=np.float32),
        labels=np.array([0, 1]),
        splits=np.array(["train", "test"]),
        sha256=np.array(["a", "b"]),
        identity="x",
    )
    features.save(work.features)
    stored = Features.load(work.features)
    assert stored.identity == "x"
    np.testing.assert_array_equal(stored.of("test")[0], [[0, 1]])


def test_identity_follows_what_features_depend_on(params: Params, work: Workspace) -> None:
    spec = write_extractor(work.extractor, params.embed)
    before = identity_of(work.extractor, spec)
    assert identity_of(work.extractor, read_spec(work.extractor)) == before
    larger = spec.model_copy(
        update={"preprocess": Preprocess(size=96, mean=(0.5,) * 3, std=(0.5,) * 3)}
    )
    assert identity_of(work.extractor, larger) != before
