"""mosec: a decoding process and an inferring one with its batches."""

from __future__ import annotations

import json
from typing import Any

from mosec import Server, Worker

from benchmarks.peers.model import decode, open_model, predict


class Decode(Worker):
    def __init__(self) -> None:
        self.inspector = open_model()

    def deserialize(self, data: bytes) -> bytes:
        return data

    def forward(self, data: bytes) -> Any:
        return decode(self.inspector, data)


class Infer(Worker):
    def __init__(self) -> None:
        self.inspector = open_model()

    def serialize(self, data: Any) -> bytes:
        return json.dumps(data).encode()

    def forward(self, data: list[Any]) -> list[dict[str, Any]]:
        return predict(self.inspector, data)


if __name__ == "__main__":
    server = Server()
    server.append_worker(Decode, num=1)
    server.append_worker(Infer, num=1, max_batch_size=16, max_wait_time=5)
    server.run()
