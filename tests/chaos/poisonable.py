"""The worker's app with a fault switch: an image that ends in POISON kills its process, as a crash
in a native decoder would. `celery --app tests.chaos.poisonable worker`."""

from __future__ import annotations

import os
import signal

from shared.model.decode import Pixels
from shared.model.inspector import Inspector
from worker.app import app

__all__ = ["POISON", "app"]

POISON = b"this image crashes the decoder"

_preprocess = Inspector.preprocess


def _crash_or_preprocess(self: Inspector, data: bytes) -> Pixels:
    if data.endswith(POISON):
        os.kill(os.getpid(), signal.SIGKILL)
    return _preprocess(self, data)


Inspector.preprocess = _crash_or_preprocess  # type: ignore[method-assign]
