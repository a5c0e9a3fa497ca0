from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from shared.model.heatmap import Heatmap


def with_spot(value: float = 1.0) -> Heatmap:
    """20 x 20 cells; hot are the columns 12 and 13 of the rows 4 to 6, the first of them most."""
    cells = np.full((20, 20), -0.1, np.float32)
    cells[4:7, 12:14] = value * 0.9
    cells[4, 12] = value
    cells[15, 2] = value * 0.8  # hot as well, but elsewhere
    return Heatmap(cells)


def test_the_hottest_point_and_its_region_are_shares_of_the_photo() -> None:
    heatmap = with_spot()

    assert heatmap.hottest == pytest.approx((12.5 / 20, 4.5 / 20))
    assert heatmap.box == pytest.approx((12 / 20, 4 / 20, 14 / 20, 7 / 20))


def test_a_heatmap_with_no_evidence_at_all_still_has_a_box() -> None:
    left, top, right, bottom = Heatmap(np.zeros((20, 20), np.float32)).box

    assert 0 <= left < right <= 1
    assert 0 <= top < bottom <= 1


def test_the_png_is_opaque_where_it_is_hot_and_clear_elsewhere() -> None:
    image = Image.open(io.BytesIO(with_spot().png()))

    assert (image.format, image.mode, image.size) == ("PNG", "RGBA", (20, 20))
    assert image.getpixel((12, 4))[3] > 180  # type: ignore[index]
    assert image.getpixel((0, 0))[3] == 0  # type: ignore[index]


def test_weak_evidence_stays_pale() -> None:
    pale = Image.open(io.BytesIO(with_spot(value=0.002).png()))

    assert 0 < pale.getpixel((12, 4))[3] < 40  # type: ignore[index,operator]


def test_over_a_photo_only_hot_places_change() -> None:
    photo = np.full((200, 100, 3), 128, np.uint8)
    found = with_spot().over(photo)

    assert found.shape == photo.shape and found.dtype == np.uint8
    assert found[45, 62, 0] > 200 and found[45, 62, 1] < 70
    assert (found[190, 95] == photo[190, 95]).all()
