"""FastAPI with the model in the web process, one image a call: `uvicorn …in_process:app`."""

from __future__ import annotations

import threading
from typing import Any

from fastapi import FastAPI, UploadFile

from benchmarks.peers.model import decode, open_model, predict

app = FastAPI()
_inspector = open_model()
_lock = threading.Lock()


@app.post("/upload_image")
def upload_image(file: UploadFile) -> dict[str, Any]:
    views = decode(_inspector, file.file.read())
    with _lock:
        return predict(_inspector, [views])[0]
