"""The generator must be repeatable, and its two classes must differ by the scratch alone."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from training.synthetic import ScratchSpec, draw_scratch, render, scene_at, write_dataset
from training.synthetic.arrays import blurred, shape_alpha
from training.synthetic.distractors import FREQUENCY
from training.synthetic.materials import MATERIALS
from training.synthetic.scratches import sample_spec

SMALL = (120, 160)
SPEC = ScratchSpec(width=3.0, contrast=0.3, length=0.6, tone="dark")
GREY = np.full((200, 200, 3), 150, dtype=np.uint8)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("scratched", [True, False])
def test_render_repeats_for_a_seed(scratched: bool) -> None:
    first, second = (render(rng(5), scratched=scratched) for _ in range(2))
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.mask, second.mask)
    assert (first.scratches, first.distractors) == (second.scratches, second.distractors)


def test_render_differs_between_seeds() -> None:
    first, second = (render(rng(seed), scratched=False, size=SMALL) for seed in (1, 2))
    assert not np.array_equal(first.image, second.image)


@pytest.mark.parametrize("material", sorted(MATERIALS))
@pytest.mark.parametrize("scratched", [True, False])
def test_scene_shape_type_and_label(material: str, scratched: bool) -> None:
    scene = render(rng(3), scratched=scratched, size=SMALL, material=material)
    assert scene.image.shape == (*SMALL, 3)
    assert scene.mask.shape == SMALL
    assert scene.image.dtype == scene.mask.dtype == np.uint8
    assert scene.material == material
    assert scene.label == ("scratches" if scratched else "no_scratches")


def test_mask_is_empty_exactly_when_unscratched() -> None:
    for seed in range(25):
        for scratched in (True, False):
            scene = render(rng(seed), scratched=scratched, size=SMALL)
            assert scene.mask.any() == scratched
            assert bool(scene.scratches) == scratched
            assert set(np.unique(scene.mask)) <= {0, 1}


def test_a_given_spec_is_the_only_scratch() -> None:
    assert render(rng(), scratched=True, size=SMALL, spec=SPEC).scratches == (SPEC,)


def test_classes_of_one_seed_share_everything_but_the_scratch() -> None:
    for seed in range(8):
        plain, scratched = (render(rng(seed), scratched=flag, size=SMALL) for flag in (False, True))
        assert plain.distractors == scratched.distractors
        assert plain.material == scratched.material
        # Compression carries a change on by a block, and the mask omits what clutter hides.
        far = cv2.dilate(scratched.mask, np.ones((49, 49), np.uint8)) == 0
        change = np.abs(plain.image[far].astype(int) - scratched.image[far])
        assert (change == 0).mean() > 0.97


def test_distractors_are_as_frequent_in_both_classes() -> None:
    """Fixed seeds, tiny photos: each share lies within four standard errors of its target."""
    count = 250
    for scratched in (True, False):
        seeds = range(count) if scratched else range(count, 2 * count)
        scenes = [render(rng(seed), scratched=scratched, size=(48, 64)) for seed in seeds]
        for name, share in FREQUENCY.items():
            drawn = np.mean([name in scene.distractors for scene in scenes])
            assert drawn == pytest.approx(share, abs=4 * (share * (1 - share) / count) ** 0.5)


@pytest.mark.parametrize("shape", ["stroke", "bundle", "swirl", "scuff"])
def test_scratch_changes_pixels_only_near_its_mask(shape: str) -> None:
    spec = replace(SPEC, shape=shape, breaks=0.2, glint=0.2)
    before = GREY.copy()
    drawn, mask = draw_scratch(GREY, rng(4), spec)
    np.testing.assert_array_equal(GREY, before)
    near = cv2.dilate(mask, np.ones((7, 7), np.uint8)) > 0
    np.testing.assert_array_equal(drawn[~near], GREY[~near])
    assert (drawn[mask > 0] != GREY[mask > 0]).any(axis=1).all()


def test_scratch_can_be_placed() -> None:
    _, mask = draw_scratch(GREY, rng(1), replace(SPEC, length=0.1), centre=(0.2, 0.8))
    rows, columns = np.nonzero(mask)
    assert (columns.mean() / 200, rows.mean() / 200) == pytest.approx((0.2, 0.8), abs=0.05)


def _change(spec: ScratchSpec) -> tuple[float, int]:
    drawn, mask = draw_scratch(GREY, rng(9), spec)
    return float(np.abs(drawn.astype(int) - GREY).max()), int(mask.sum())


def test_contrast_deepens_and_width_widens() -> None:
    depths = [_change(replace(SPEC, contrast=contrast))[0] for contrast in (0.05, 0.1, 0.2, 0.4)]
    areas = [_change(replace(SPEC, width=width))[1] for width in (0.5, 1.0, 2.0, 4.0, 8.0)]
    lengths = [_change(replace(SPEC, length=length))[1] for length in (0.1, 0.3, 0.6)]
    for rising in (depths, areas, lengths):
        assert all(low < high for low, high in pairwise(rising))


def test_contrast_is_a_share_of_the_full_range() -> None:
    assert _change(replace(SPEC, contrast=0.4))[0] == pytest.approx(0.4 * 255, rel=0.1)


@pytest.mark.parametrize(("level", "brighter"), [(20, True), (235, False)])
def test_auto_tone_takes_the_side_with_room(level: int, brighter: bool) -> None:
    photo = np.full((100, 100, 3), level, dtype=np.uint8)
    drawn, _ = draw_scratch(photo, rng(2), replace(SPEC, width=1.2, tone="auto"))
    assert (drawn.mean() > level) == brighter


def test_default_scratches_stay_in_their_ranges() -> None:
    specs = [sample_spec(rng(seed), (480, 640)) for seed in range(400)]
    assert all(0.7 <= spec.width <= 7 and 0.15 <= spec.length <= 0.9 for spec in specs)
    hairlines = np.mean([spec.width < 1.2 for spec in specs])
    assert 0.05 < hairlines < 0.2


def test_a_wide_blur_keeps_size_and_amount() -> None:
    square = shape_alpha((97, 131), [np.array([(40.0, 30.0), (80, 30), (80, 60), (40, 60)])])
    wide = blurred(square, 9.0)
    assert wide.shape == square.shape
    assert wide.mean() == pytest.approx(square.mean(), rel=0.1)


def _files(folder: Path) -> dict[str, bytes]:
    found = folder.rglob("*.jpg")
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def test_dataset_is_balanced_and_independent_of_workers(tmp_path: Path) -> None:
    write_dataset(tmp_path / "one", 10, seed=3, workers=1)
    write_dataset(tmp_path / "two", 10, seed=3, workers=2)
    files = _files(tmp_path / "one")
    assert files == _files(tmp_path / "two")
    assert len(files) == 10
    assert sum(name.startswith("scratches/") for name in files) == 5


def test_a_longer_dataset_begins_with_the_shorter(tmp_path: Path) -> None:
    write_dataset(tmp_path / "short", 2, seed=3, workers=1)
    write_dataset(tmp_path / "long", 4, seed=3, workers=1)
    assert _files(tmp_path / "short").items() <= _files(tmp_path / "long").items()


def test_dataset_seeds_differ() -> None:
    assert not np.array_equal(scene_at(1, 1).image, scene_at(2, 1).image)
