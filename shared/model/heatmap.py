"""A heatmap of evidence as people and programs use it: a point, a box, a PNG, an overlay."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from shared.model.decode import Pixels
from shared.model.evidence import Floats

Point = tuple[float, float]
Box = tuple[float, float, float, float]

#: logits a cell that are drawn in full; a weaker peak stays pale. Clean photos peak at about 0.01,
#: photos with scratches at about 0.03
_FULL = 0.02
#: of the peak, from which neighbouring cells belong to the hottest region
_REGION = 0.4
#: RGB of little and of much evidence
_COOL, _HOT = (255, 176, 0), (255, 0, 72)
_STRONGEST = 0.8


@dataclass(frozen=True)
class Heatmap:
    """`cells` [side, side] over the whole photo, in logits; positive speaks for a scratch."""

    cells: Floats

    @property
    def hottest(self) -> Point:
        """The middle of the hottest cell, (x, y) in shares of the photo's width and height."""
        row, column = np.unravel_index(int(self.cells.argmax()), self.cells.shape)
        side = len(self.cells)
        return (int(column) + 0.5) / side, (int(row) + 0.5) / side

    @property
    def box(self) -> Box:
        """(left, top, right, bottom) of the region around the hottest point, in shares."""
        hot = (self.cells >= max(float(self.cells.max()) * _REGION, 1e-9)).astype(np.uint8)
        _, regions, stats, _ = cv2.connectedComponentsWithStats(hot, connectivity=8)
        region = int(regions.flat[int(self.cells.argmax())])
        left, top, width, height = (int(value) for value in stats[region][:4])
        side = len(self.cells)
        return left / side, top / side, (left + width) / side, (top + height) / side

    def png(self) -> bytes:
        """RGBA, to be stretched over the photo: transparent where nothing speaks for a scratch."""
        done, data = cv2.imencode(".png", cv2.cvtColor(self._rgba(), cv2.COLOR_RGBA2BGRA))
        if not done:
            raise ValueError("the heatmap could not be encoded")
        return data.tobytes()

    def over(self, photo: Pixels) -> Pixels:
        """The photo, RGB [height, width, 3], with the heatmap over it."""
        height, width = photo.shape[:2]
        rgba = np.asarray(cv2.resize(self._rgba(), (width, height)), np.float32)
        alpha = rgba[:, :, 3:] / 255
        mixed = photo * (1 - alpha) + rgba[:, :, :3] * alpha
        return mixed.round().astype(np.uint8)

    def _rgba(self) -> Pixels:
        heat = np.clip(self.cells / max(float(self.cells.max()), _FULL), 0, 1)[:, :, None]
        colour = np.array(_COOL) * (1 - heat) + np.array(_HOT) * heat
        rgba: Pixels = np.concatenate([colour, heat * _STRONGEST * 255], 2).round().astype(np.uint8)
        return rgba
