"""Limits are proven by counting, on the same scratches for everybody."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from shared.errors import ImageError
from shared.model.decode import Pixels
from shared.model.inspector import open_inspector
from tests.checkpoints import tiny_checkpoint
from training.limits import (
    Decide,
    Level,
    Limits,
    decide_by,
    lower_bound,
    measure,
    scratched,
)
from training.params import LimitsParams
from training.synthetic import ScratchSpec

PARAMS = LimitsParams(widths=(0.02, 0.01, 0.005), contrasts=(0.3,), trials=40)
GREY = 120


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    files = [tmp_path / f"{number}.png" for number in range(8)]
    for number, file in enumerate(files):
        plain = np.full((120 + number, 160, 3), GREY, np.uint8)
        cv2.imwrite(str(file), plain)
    return files


def _changed(photo: Pixels) -> float:
    """Mean width of what is not grey, in pixels of a line through the photo."""
    return float((np.abs(photo.astype(int) - GREY) > 20).any(2).sum() / 48)


def _seer(least: float) -> Decide:
    def decide(batch: Sequence[Pixels]) -> NDArray[np.bool_]:
        return np.array([_changed(photo) >= least for photo in batch])

    return decide


def test_the_limit_is_between_what_is_seen_and_what_is_not(photos: list[Path]) -> None:
    found = measure(photos, _seer(1.2), PARAMS)
    by_width = {level.width: level.recall for level in found.levels}
    assert by_width[0.02] == 1
    assert by_width[0.005] < 0.5
    limit = found.smallest(0.3)
    assert limit is not None
    assert limit.width in (0.02, 0.01)
    assert found.summary()["smallest"][0]["pixels"] == pytest.approx(
        limit.width * found.diagonal, abs=0.01
    )
    assert found.diagonal == pytest.approx(np.hypot(123.5, 160), abs=0.01)


def test_who_sees_more_has_the_smaller_limit(photos: list[Path]) -> None:
    keen, dull = (measure(photos, _seer(least), PARAMS) for least in (0.3, 1.2))
    pairs = zip(keen.levels, dull.levels, strict=True)
    assert all(one.found >= other.found for one, other in pairs)


def test_the_same_seed_draws_the_same_scratches(photos: list[Path]) -> None:
    first, second = (measure(order, _seer(0.8), PARAMS) for order in (photos, photos[::-1]))
    assert first == second
    other = measure(photos, _seer(0.8), PARAMS.model_copy(update={"seed": 1}))
    assert other.levels != first.levels


def test_only_the_width_changes_from_width_to_width() -> None:
    photo = np.full((200, 300, 3), GREY, np.uint8)
    thin, thick = (
        np.argwhere((scratched(photo, ScratchSpec(w, 0.5, 0.4), (1, 2)) != photo).any(2))
        for w in (1.5, 6)
    )
    assert len(thick) > 2 * len(thin)
    assert np.allclose(thin.mean(0), thick.mean(0), atol=6)


def test_photos_that_alarm_by_themselves_are_counted_and_left_alone(photos: list[Path]) -> None:
    marked = cv2.imread(str(photos[0]))
    marked[40:80, 40:80] = 255
    cv2.imwrite(str(photos[0]), marked)
    found = measure(photos, _seer(1.2), PARAMS)
    assert (found.photos, found.false_alarms) == (8, 1)
    assert {level.trials for level in found.levels} == {42}  # 7 photos, 6 scratches each


def test_one_failure_ends_the_proof() -> None:
    levels = [(0.04, 0.95), (0.02, 0.5), (0.01, 0.99)]
    found = Limits(
        PARAMS, 1, 0, 100, tuple(Level(width, 0.3, 9, 10, bound) for width, bound in levels)
    )
    limit = found.smallest(0.3)
    assert limit is not None
    assert limit.width == 0.04
    assert Limits(PARAMS, 1, 0, 100, found.levels[1:]).smallest(0.3) is None


@pytest.mark.parametrize(
    ("found", "trials", "bound"), [(0, 10, 0), (29, 29, 0.9019), (28, 29, 0.8466), (95, 100, 0.897)]
)
def test_the_bound_is_that_of_clopper_and_pearson(found: int, trials: int, bound: float) -> None:
    assert lower_bound(found, trials, 0.95) == pytest.approx(bound, abs=1e-3)


def test_without_a_clean_photo_there_is_no_limit(photos: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no clean photos"):
        measure([], _seer(1), PARAMS)
    with pytest.raises(ValueError, match="all 8"):
        measure(photos, _seer(0), PARAMS)
    (tmp_path / "broken.png").write_bytes(b"junk")
    with pytest.raises(ImageError):
        measure([*photos, tmp_path / "broken.png"], _seer(1), PARAMS)


def test_a_checkpoint_decides(photos: list[Path], tmp_path: Path) -> None:
    inspector = open_inspector(tiny_checkpoint(tmp_path / "tiny"), runtime="torch")
    decide = decide_by(inspector)
    for file in photos[:2]:
        (seen,) = decide([cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)])
        assert seen == (inspector.inspect(file.read_bytes()).pred == "scratches")
