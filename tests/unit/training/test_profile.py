"""The reference of a checkpoint: distances, their limit, and what is kept of held-out photos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shared.errors import CheckpointError
from shared.model.reference import STATISTICS, Reference, input_statistics, statistics
from training.profile import conformal_limit, principal


def photos(seed: int, count: int) -> np.ndarray:  # type: ignore[type-arg]
    """Features of two strong directions and noise."""
    rng = np.random.default_rng(seed)
    along = rng.normal(0, 3, (count, 2)) @ np.random.default_rng(9).normal(0, 1, (2, 12))
    found: np.ndarray = (along + rng.normal(5, 0.3, (count, 12))).astype(np.float32)  # type: ignore[type-arg]
    return found


def distances(reference: Reference, rows: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    return np.array([reference.place(row).distance for row in rows])


def test_axes_are_orthonormal_and_describe_new_photos_as_well() -> None:
    reference = principal(photos(0, 800))

    assert np.allclose(reference.axes @ reference.axes.T, np.eye(len(reference.axes)), atol=1e-4)
    along = np.array([reference.place(row).axes for row in photos(1, 800)])
    assert np.allclose(along.std(0), 1, atol=0.15)


def test_photos_of_the_same_kind_are_called_unlike_as_rarely_as_stated() -> None:
    reference = principal(photos(0, 800))
    shares = []
    for seed in range(1, 600, 2):
        limit = conformal_limit(distances(reference, photos(seed, 200)), 0.05)
        shares.append((distances(reference, photos(seed + 1, 100)) > limit).mean())
    assert 0.04 < np.mean(shares) <= 0.055


def test_photos_off_the_axes_are_far() -> None:
    reference = principal(photos(0, 800))
    limit = conformal_limit(distances(reference, photos(1, 400)), 0.01)

    moved = photos(2, 50) + np.random.default_rng(3).normal(0, 2, 12).astype(np.float32)

    assert (distances(reference, moved) > limit).mean() > 0.9


def test_too_few_photos_know_no_limit() -> None:
    assert conformal_limit(np.arange(98.0), 0.01) == np.inf
    assert conformal_limit(np.arange(99.0), 0.01) == 98


def test_a_reference_survives_its_file(tmp_path: Path) -> None:
    reference = principal(photos(0, 800))
    reference.save(tmp_path / "r.safetensors")

    found = Reference.load(tmp_path / "r.safetensors")

    row = photos(1, 1)[0]
    assert found.place(row).distance == pytest.approx(reference.place(row).distance, rel=0.02)
    assert not found.place(row).unlike  # the limit is infinite, and stays so


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    reference = principal(photos(0, 800))
    vars(reference)["spread"] = reference.spread[:1]
    reference.save(tmp_path / "r.safetensors")

    for file in (tmp_path / "r.safetensors", tmp_path / "none.safetensors"):
        with pytest.raises(CheckpointError, match="not a reference"):
            Reference.load(file)


def test_inputs_are_measured_on_the_whole_view() -> None:
    flat = np.full((2, 64, 64, 3), 100, np.uint8)
    flat[1] = 255  # a tile says nothing of the whole
    grid = flat.copy()
    grid[0, ::2] = 200

    brightness, contrast, sharpness, size = input_statistics(flat, 640 * 480)
    assert (brightness, contrast, sharpness) == (100, 0, 0)
    assert size == pytest.approx(np.log2(640 * 480))
    assert input_statistics(grid, 1)[:2] == (150, 50)
    assert input_statistics(grid, 1)[2] > 10


def test_a_reference_of_few_axes_has_all_statistics() -> None:
    place = principal(photos(0, 24)).place(photos(1, 1)[0])

    found = statistics((1, 2, 3, 4), place, 0.25)

    assert len(place.axes) == 3 and len(found) == len(STATISTICS)
    assert found[:4].tolist() == [1, 2, 3, 4] and found[-1] == 0.25
    assert np.all(found[7:-2] == 0) and np.all(found[4:7] != 0)
