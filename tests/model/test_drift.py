"""What the bundled checkpoint's reference tells: within how many photos, and when it is quiet."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest

from shared.images import open_image
from shared.model.decode import Pixels
from shared.model.drift import moved, state_of
from shared.model.inspector import Inspector, open_inspector
from shared.model.labels import LABELS
from shared.model.reference import Reference, input_statistics, statistics
from tests.photos import steel
from training.synthetic import render

CKPT = Path(__file__).parents[2] / "ckpts" / "scratch-lite"
#: photos within which drift must be named
WITHIN = 64
#: far from every seed of the training set
FIRST_SEED = 2_000_000


@pytest.fixture(scope="module")
def inspector() -> Inspector:
    found = open_inspector(CKPT, runtime="openvino", precision="f32")
    if found.reference is None:
        pytest.skip("the bundled checkpoint has no reference yet: `make ckpt` writes it")
    return found


@cache
def photo(number: int, material: str | None = None) -> Pixels:
    """As the training set draws them: every second one is scratched."""
    rng = np.random.default_rng(FIRST_SEED + number)
    return render(rng, scratched=number % 2 == 0, material=material).image


def state(inspector: Inspector, photos: list[bytes]) -> str:
    assert isinstance(inspector.reference, Reference)
    rows, answers = [], []
    for data in photos:
        views = inspector.preprocess(data)
        (found,) = inspector.embed(views[None])
        verdict, place = inspector.postprocess(found.logits), inspector.place(found.features)
        assert place
        width, height = open_image(data).size
        inputs = input_statistics(views, width * height)
        rows.append(statistics(inputs, place, verdict.prob_scratches))
        answers.append(LABELS.index(verdict.pred))
    return state_of(moved(inspector.reference, np.stack(rows), np.array(answers)), rate_moved=False)


def jpegs(pixels: list[Pixels]) -> list[bytes]:
    return [
        cv2.imencode(".jpg", cv2.cvtColor(one, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 92])[
            1
        ].tobytes()
        for one in pixels
    ]


def blurred(pixels: Pixels) -> Pixels:
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), 2.0), np.uint8)


def darkened(pixels: Pixels) -> Pixels:
    return (pixels * 0.4).astype(np.uint8)


def test_photos_like_those_it_learned_from_are_quiet(inspector: Inspector) -> None:
    assert state(inspector, jpegs([photo(n) for n in range(2 * WITHIN)])) == "steady"


@pytest.mark.parametrize("spoil", [blurred, darkened])
def test_a_camera_that_is_off_is_named(
    inspector: Inspector, spoil: Callable[[Pixels], Pixels]
) -> None:
    assert state(inspector, jpegs([spoil(photo(n)) for n in range(WITHIN)])) == "camera"


def test_one_material_alone_is_no_longer_the_mix(inspector: Inspector) -> None:
    glass = jpegs([photo(n, "glass") for n in range(WITHIN)])
    assert state(inspector, glass) != "steady"


def test_steel_is_another_material(inspector: Inspector) -> None:
    files = steel("scratches", WITHIN // 2) + steel("no_scratches", WITHIN // 2)
    assert state(inspector, [file.read_bytes() for file in files]) != "steady"
