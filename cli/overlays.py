"""`scratch predict --explain OUT`: each photo with the evidence for a scratch drawn over it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import cv2

from shared.model.decode import decode
from shared.model.heatmap import Heatmap
from shared.model.preprocess import ImageLimits

#: pixels; a larger JPEG is drawn at a fraction of its size
_ENOUGH_SIDE = 800


class Overlays:
    """One JPEG a photo in `folder`, named as the photo; a second photo of a name gets a number."""

    def __init__(self, folder: Path, files: Iterable[Path], limits: ImageLimits) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._limits = limits
        self._paths: dict[Path, Path] = {}
        taken: Counter[str] = Counter()
        for file in files:
            taken[file.stem] += 1
            number = f"-{taken[file.stem]}" if taken[file.stem] > 1 else ""
            self._paths[file] = folder / f"{file.stem}{number}.jpg"

    def write(self, file: Path, data: bytes, heatmap: Heatmap) -> Path:
        """Raises OSError."""
        photo = decode(
            data,
            min_side=_ENOUGH_SIDE,
            max_pixels=self._limits.max_pixels,
            max_side=self._limits.max_side,
        )
        done, jpeg = cv2.imencode(".jpg", cv2.cvtColor(heatmap.over(photo), cv2.COLOR_RGB2BGR))
        if not done:
            raise OSError(None, "the overlay could not be encoded")
        self._paths[file].write_bytes(jpeg.tobytes())
        return self._paths[file]
