"""BentoML with its adaptive batches: `bentoml serve benchmarks.peers.bento_service:Scratch`."""

import pathlib
from typing import Any

import bentoml

from benchmarks.peers.model import decode, open_model, predict


@bentoml.service(traffic={"timeout": 60}, workers=1)
class Scratch:
    def __init__(self) -> None:
        self.inspector = open_model()

    @bentoml.api(route="/upload_image", batchable=True, max_batch_size=16, max_latency_ms=5000)
    def upload_image(self, files: list[pathlib.Path]) -> list[dict[str, Any]]:
        return predict(self.inspector, [decode(self.inspector, f.read_bytes()) for f in files])
