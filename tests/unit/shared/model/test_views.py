"""What the model is shown: every part of the image, squashed and never cropped."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from open_clip import image_transform
from PIL import Image

from shared.model.decode import Pixels
from shared.model.manifest import Preprocess
from shared.model.views import make_views, min_side

SIZES = [(1, 1), (1, 5000), (5000, 1), (3, 7), (64, 64), (63, 65), (480, 640), (50, 4000)]


def _spec(grids: tuple[int, ...] = (1,), overlap: float = 0.0, size: int = 64) -> Preprocess:
    return Preprocess(
        size=size, grids=grids, overlap=overlap, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)
    )


def _black(height: int, width: int) -> Pixels:
    return np.zeros((height, width, 3), np.uint8)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("grids", "overlap", "count"),
    [((1,), 0, 1), ((2,), 0, 4), ((1, 2), 0.25, 5), ((1, 3), 0.5, 10), ((8,), 0.1, 64)],
)
def test_there_are_as_many_views_as_the_manifest_says(
    size: tuple[int, int], grids: tuple[int, ...], overlap: float, count: int
) -> None:
    views = make_views(_black(*size), _spec(grids, overlap))
    assert views.shape == (count, 64, 64, 3)
    assert views.dtype == np.uint8
    assert views.flags.c_contiguous


@pytest.mark.parametrize("size", SIZES)
def test_a_plain_image_gives_plain_views(size: tuple[int, int]) -> None:
    pixels = _black(*size) + np.array([1, 100, 200], np.uint8)
    assert (make_views(pixels, _spec((1, 2), 0.2)) == [1, 100, 200]).all()


@pytest.mark.parametrize("size", [(480, 640), (640, 480), (50, 4000), (4000, 50), (70, 64)])
@pytest.mark.parametrize("edge", [(0, ...), (-1, ...), (slice(None), 0), (slice(None), -1)])
def test_a_line_along_any_border_shows(size: tuple[int, int], edge: Any) -> None:
    pixels = _black(*size)
    pixels[edge] = 255
    (view,) = make_views(pixels, _spec())
    assert view[edge].mean() > 2


@pytest.mark.parametrize("column", range(0, 4000, 331))
def test_a_thin_line_across_a_long_low_image_shows(column: int) -> None:
    pixels = _black(50, 4000)
    pixels[:, column] = 255
    assert make_views(pixels, _spec()).max() >= 3


@pytest.mark.parametrize("grid", range(1, 9))
@pytest.mark.parametrize("overlap", [0, 0.1, 0.33, 0.5])
def test_tiles_cover_every_pixel(grid: int, overlap: float) -> None:
    # Given images of one white pixel each, then some tile shows it
    for place in range(97):
        pixels = _black(97, 97)
        pixels[place, place] = 255
        assert make_views(pixels, _spec((grid,), overlap, size=32)).max() >= 6


def test_tiles_are_in_reading_order() -> None:
    pixels = _black(128, 128)
    pixels[:64, 64:] = 255
    means = make_views(pixels, _spec((1, 2))).mean((1, 2, 3))
    assert means.round().tolist() == [64, 0, 255, 0, 0]


def test_overlapping_tiles_share_the_middle() -> None:
    pixels = _black(150, 150)
    pixels[74:76, 74:76] = 255
    assert (make_views(pixels, _spec((2,), 0.5)).max((1, 2, 3)) > 0).all()
    assert make_views(pixels, _spec((2,), 0.5)).shape == (4, 64, 64, 3)


def test_views_do_not_change_the_image() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (90, 80, 3), np.uint8)
    before = pixels.copy()
    make_views(pixels, _spec((1, 2)))
    assert np.array_equal(pixels, before)


def test_the_finest_grid_decides_how_large_to_decode() -> None:
    assert min_side(_spec((1, 3), size=224)) == 672


@pytest.mark.parametrize("size", [(64, 64), (65, 64), (90, 200), (301, 121), (480, 640), (20, 33)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_a_crop_is_what_open_clip_shows(size: tuple[int, int], interpolation: Any) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    transform = image_transform(
        64, is_train=False, mean=(0.0,) * 3, std=(1.0,) * 3, interpolation=interpolation
    )
    expected = transform(Image.fromarray(pixels)).permute(1, 2, 0).numpy() * 255
    spec = Preprocess.model_validate(vars(_spec()) | {"resize": f"crop_{interpolation}"})
    (view,) = make_views(pixels, spec)
    assert np.abs(view - expected).max() <= 1


def test_a_crop_of_a_long_strip_needs_no_memory() -> None:
    spec = Preprocess.model_validate(vars(_spec(size=2048)) | {"resize": "crop_bicubic"})
    assert make_views(_black(1, 20_000), spec).shape == (1, 2048, 2048, 3)
    assert min_side(spec) > 20_000  # open_clip sees every pixel before it resizes
