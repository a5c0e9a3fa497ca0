"""Features are computed once, by the serving code, and only for what can be read."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from shared.model.decode import Pixels
from shared.model.manifest import Preprocess
from training import prepare
from training.dataset import Index, IndexedImage
from training.embed import collect, embed
from training.extractor import ExtractorSpec, identity_of, read_spec
from training.features import Features
from training.params import Params
from training.rowcache import RowCache
from training.tower import write_extractor
from training.workspace import Workspace

#: of the features of MeanColour
MEANS = np.ones(3, bool)


class MeanColour:
    """Stands for a tower; counts what it is shown."""

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, views: Pixels) -> NDArray[np.float32]:
        self.seen += len(views)
        return views.mean((1, 2, 3)).astype(np.float32)


@pytest.fixture
def spec(params: Params, work: Workspace) -> ExtractorSpec:
    return write_extractor(work.extractor, params.embed)


@pytest.fixture
def cache(work: Workspace) -> RowCache:
    return RowCache(work.cache / "features")


def test_what_is_known_is_not_computed_again(
    photos: Path, params: Params, work: Workspace, spec: ExtractorSpec, cache: RowCache
) -> None:
    index = prepare.run(params.prepare, work, photos)
    extract = MeanColour()
    first = embed(index, spec, extract, cache, batch=5)
    assert extract.seen == len(first) == len(index.images)
    again = embed(index, spec, extract, cache, batch=5)
    assert extract.seen == len(index.images)
    assert again.keys() == first.keys()


def test_in_another_folder_only_new_images_cost(
    photos: Path, params: Params, work: Workspace, spec: ExtractorSpec, cache: RowCache
) -> None:
    embed(prepare.run(params.prepare, work, photos), spec, MeanColour(), cache, batch=5)
    grown = Path(shutil.copytree(photos, work.root / "grown"))
    cv2.imwrite(str(grown / "scratches" / "new.png"), np.full((72, 96, 3), 99, np.uint8))
    extract = MeanColour()
    embed(prepare.run(params.prepare, work, grown), spec, extract, cache, batch=5)
    assert extract.seen == 1


def test_rows_keep_the_order_of_the_index(
    photos: Path, params: Params, work: Workspace, spec: ExtractorSpec, cache: RowCache
) -> None:
    index = prepare.run(params.prepare, work, photos)
    features = collect(index, embed(index, spec, MeanColour(), cache, batch=5), MEANS, "x")
    assert features.sha256.tolist() == [image.sha256 for image in index.images]
    alone = embed(index, spec, MeanColour(), RowCache(work.root / "other"), batch=1)
    np.testing.assert_array_equal(features.values, collect(index, alone, MEANS, "x").values)


def test_an_image_that_breaks_between_stages_is_left_out_and_said(
    work: Workspace, spec: ExtractorSpec, cache: RowCache, caplog: pytest.LogCaptureFixture
) -> None:
    (work.root / "broken.jpg").write_bytes(b"no image")
    image = IndexedImage(file="broken.jpg", label="scratches", sha256="x", split="train")
    assert embed(Index(root=work.root, images=(image,)), spec, MeanColour(), cache, batch=5) == {}
    assert "broken.jpg is left out" in caplog.text


def test_features_survive_their_file(work: Workspace) -> None:
    features = Features(
        values=np.eye(2, dtype=np.float32),
        labels=np.array([0, 1]),
        splits=np.array(["train", "test"]),
        sha256=np.array(["a", "b"]),
        groups=np.arange(2),
        means=np.array([True, False]),
        identity="x",
    )
    features.save(work.features)
    stored = Features.load(work.features)
    assert stored.identity == "x"
    np.testing.assert_array_equal(stored.of("test")[0], [[0, 1]])
    np.testing.assert_array_equal(stored.means, [True, False])


def test_identity_follows_what_features_depend_on(params: Params, work: Workspace) -> None:
    spec = write_extractor(work.extractor, params.embed)
    before = identity_of(work.extractor, spec)
    assert identity_of(work.extractor, read_spec(work.extractor)) == before
    larger = spec.model_copy(
        update={"preprocess": Preprocess(size=96, mean=(0.5,) * 3, std=(0.5,) * 3)}
    )
    assert identity_of(work.extractor, larger) != before
