"""The pointing game (Zhang et al. 2018): does the hottest point lie on the scratch?

On rendered photos, whose scratches are known to the pixel. Chance is the share of a photo that the
scratches and a margin of one heatmap cell cover.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from shared.model.evidence import HEATMAP_SIDE
from shared.model.inspector import open_inspector
from shared.model.manifest import Precision
from training.synthetic import ScratchSpec, render

CKPT = Path(__file__).parents[2] / "ckpts" / "scratch-lite"
PHOTOS = 40
#: far from every seed of the training set, of the goldens and of the other tests
FIRST_SEED = 2_000_000
OBVIOUS = ScratchSpec(width=5, contrast=0.55, length=0.75)


@pytest.mark.parametrize("precision", ["f32", "int8"])
def test_the_hottest_point_lies_on_the_scratch_far_more_often_than_chance(
    precision: Precision, capsys: pytest.CaptureFixture[str]
) -> None:
    inspector = open_inspector(CKPT, runtime="openvino", precision=precision)
    hits, covered = [], []
    for number in range(PHOTOS):
        rng = np.random.default_rng(FIRST_SEED + number)
        # Every other one as training draws them, hairlines included.
        scene = render(rng, scratched=True, spec=OBVIOUS if number % 2 else None)
        _, png = cv2.imencode(".png", cv2.cvtColor(scene.image, cv2.COLOR_RGB2BGR))
        (trace,) = inspector.trace(inspector.preprocess(png.tobytes())[None])
        heatmap = inspector.locate(trace)
        assert heatmap
        x, y = heatmap.hottest
        scratch = _cells(scene.mask)
        if scratch.any():  # clutter may hide it all
            hits.append(scratch[int(y * HEATMAP_SIDE), int(x * HEATMAP_SIDE)])
            covered.append(scratch.mean())
    with capsys.disabled():
        print(f"\npointing game, {precision}: {np.mean(hits):.2f}, chance {np.mean(covered):.2f}")  # noqa: T201
    assert len(hits) >= PHOTOS * 0.9
    assert np.mean(covered) < 0.12
    assert np.mean(hits) >= 0.7


def _cells(mask: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    """Which cells of a heatmap the scratch touches, and their neighbours."""
    share = cv2.resize(
        (mask > 0).astype(np.float32), (HEATMAP_SIDE, HEATMAP_SIDE), interpolation=cv2.INTER_AREA
    )
    touched = (share > 0.02).astype(np.uint8)
    return cv2.dilate(touched, np.ones((3, 3), np.uint8)) > 0
