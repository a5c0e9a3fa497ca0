"""LitServe with its batches."""

import sys
from typing import Any

import litserve
from fastapi import UploadFile

from benchmarks.peers.model import decode, open_model, predict


class Api(litserve.LitAPI):
    def setup(self, device: str) -> None:  # noqa: ARG002
        self.inspector = open_model()

    def decode_request(self, request: UploadFile) -> Any:
        return decode(self.inspector, request.file.read())

    def batch(self, inputs: list[Any]) -> list[Any]:
        return inputs

    def predict(self, x: list[Any]) -> list[dict[str, Any]]:
        return predict(self.inspector, x)

    def unbatch(self, output: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return output

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        return output


if __name__ == "__main__":
    api = Api(max_batch_size=16, batch_timeout=0.005, api_path="/upload_image")
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(port=int(sys.argv[1]), generate_client_file=False, num_api_servers=1)
