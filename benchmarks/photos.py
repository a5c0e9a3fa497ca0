"""Uploads for load tests: rendered surfaces, as web pages (640x480) or phones (12 MP) send."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from training.synthetic import render

Kind = Literal["web", "phone"]
#: height, width and how many
_KINDS: dict[Kind, tuple[tuple[int, int], int]] = {
    "web": ((480, 640), 32),
    "phone": ((3000, 4000), 6),
}
_QUALITY = 88


def photos(kind: Kind, root: Path) -> Path:
    """A folder of JPEGs, the same on every machine; drawn once."""
    folder = root / kind
    size, count = _KINDS[kind]
    if len(list(folder.glob("*.jpg"))) == count:
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        rng = np.random.default_rng((7, number))
        # A phone's sensor shows texture down to the pixel; rendering 12 MP anew would take minutes.
        drawn = render(rng, scratched=number % 2 == 0, size=_KINDS["web"][0]).image
        enlarged = cv2.resize(drawn, size[::-1], interpolation=cv2.INTER_CUBIC)
        noise = rng.normal(0, 4, (*size, 1)) if kind == "phone" else 0
        pixels = np.clip(enlarged + noise, 0, 255).astype(np.uint8)
        path = folder / f"{number:02}.jpg"
        cv2.imwrite(str(path), pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return folder
