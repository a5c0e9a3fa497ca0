"""A worker whose model is a sleep: all that is left is what the queue costs.

`celery --app benchmarks.sleeping_worker worker`. The rest is the real thing: tasks, claims,
batcher, results, records, log.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

import worker.opener
from shared.model.inspector import Inspector
from shared.model.runtime import Embedded

#: seconds of one forward pass, whatever the size of its batch: as a GPU would take
FORWARD_S = 0.005

_open_inspector = worker.opener.open_inspector


def _preprocess(_data: bytes) -> Any:
    return np.zeros((1, 1, 1, 3), np.uint8)


def _embed(views: Any) -> list[Embedded]:
    time.sleep(FORWARD_S)
    return [Embedded(np.zeros(2, np.float32)) for _ in views]


def _open(*arguments: Any, **options: Any) -> Inspector:
    inspector = _open_inspector(*arguments, **options)
    inspector.preprocess, inspector.embed = _preprocess, _embed  # type: ignore[method-assign]
    return inspector


worker.opener.open_inspector = _open

from worker.app import app  # noqa: E402, F401  # it opens its model when it starts
