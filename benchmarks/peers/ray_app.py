"""Ray Serve with its batches: what `serve.batch` and an ingress of FastAPI make of it."""

import asyncio
import sys
from typing import Any

import ray
from fastapi import FastAPI, UploadFile
from ray import serve

from benchmarks.peers.model import decode, open_model, predict

app = FastAPI()


@serve.deployment(max_ongoing_requests=64, ray_actor_options={"num_cpus": 1})
@serve.ingress(app)
class Scratch:
    def __init__(self) -> None:
        self.inspector = open_model()

    @serve.batch(max_batch_size=16, batch_wait_timeout_s=0.005)
    async def infer(self, views: list[Any]) -> list[dict[str, Any]]:
        return predict(self.inspector, views)

    @app.post("/upload_image")
    async def upload_image(self, file: UploadFile) -> dict[str, Any]:
        data = await file.read()
        return await self.infer(await asyncio.to_thread(decode, self.inspector, data))


if __name__ == "__main__":
    ray.init(address="local", include_dashboard=False)  # one of its own for each contestant
    serve.start(http_options={"port": int(sys.argv[1])})
    serve.run(Scratch.bind(), blocking=True)
