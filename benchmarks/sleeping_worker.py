"""A worker whose model is a sleep: all that is left is what the queue costs.

`celery --app benchmarks.sleeping_worker worker`. The rest is the real thing: tasks, claims,
batcher, results, records, log.
"""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import numpy as np

import worker.opener
from shared.model.inspector import Verdict

#: seconds of one forward pass, whatever the size of its batch: as a GPU would take
FORWARD_S = 0.005


class SleepingInspector:
    manifest = SimpleNamespace(title="sleep@0")
    runtime = SimpleNamespace(variant="sleep")

    def preprocess(self, _data: bytes) -> Any:
        return np.zeros((1, 1, 1, 3), np.uint8)

    def forward(self, views: Any) -> Any:
        time.sleep(FORWARD_S)
        return np.zeros((len(views), 2), np.float32)

    def postprocess(self, _logits: Any) -> Verdict:
        return Verdict("scratches", 0.5, 0.5)

    def warm_up(self, images: int) -> None:
        """Nothing to compile."""


def _open(*_: Any, **__: Any) -> Any:
    return SleepingInspector()


worker.opener.open_inspector = _open

from worker.app import app  # noqa: E402, F401  # it opens its model when it starts
