"""The same model for every other server: photo to views, batch of views to answers.

PEER_DECODE=pillow decodes as their users would; PEER_DECODE=ours gives them our preprocessing. The
compiled graph is ours in both cases (PEER_PRECISION), which does them no harm, but for
PEER_RUNTIME=torch, which is how the original service did it.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from shared.model.inspector import Inspector, open_inspector

_DECODE = os.environ.get("PEER_DECODE", "pillow")


def open_model() -> Inspector:
    precision: Any = os.environ.get("PEER_PRECISION", "f32")
    runtime: Any = os.environ.get("PEER_RUNTIME", "openvino")
    return open_inspector(Path(os.environ["PEER_CKPT"]), runtime=runtime, precision=precision)


def decode(inspector: Inspector, data: bytes) -> Any:
    """uint8 [1, size, size, 3]."""
    if _DECODE == "ours":
        return inspector.preprocess(data)
    side = inspector.manifest.preprocess.size
    image = Image.open(io.BytesIO(data))
    image.draft("RGB", (2 * side, 2 * side))
    resized = image.convert("RGB").resize((side, side), Image.Resampling.BICUBIC, reducing_gap=2.0)
    return np.asarray(resized)[None]


def predict(inspector: Inspector, views: list[Any]) -> list[dict[str, Any]]:
    return [vars(inspector.postprocess(row)) for row in inspector.forward(np.stack(views))]
