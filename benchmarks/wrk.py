"""Closed-loop load: each connection sends its next photo when the last one was answered."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

_SCRIPT = Path(__file__).with_name("upload.lua")


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where and how a contestant takes photos: as a form's `field`, or raw when it has none."""

    url: str
    route: str = "/upload_image"
    field: str | None = "file"


@dataclass(frozen=True, kw_only=True)
class Load:
    """What a closed loop saw; only 200 counts as `ok`."""

    seconds: float
    ok: int
    refused: int
    errors: int
    p50_ms: float
    p95_ms: float
    p99_ms: float

    @property
    def per_s(self) -> float:
        return self.ok / self.seconds


def closed_loop(target: Target, images: Path, *, connections: int, seconds: float) -> Load:
    """Raises RuntimeError when wrk is missing or answers were not all good."""
    if not shutil.which("wrk"):
        raise RuntimeError("wrk is not installed: apt-get install wrk")
    environment = {"IMAGES": str(images), "ROUTE": target.route}
    environment |= {"FIELD": target.field} if target.field else {"RAW": "1"}
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "60s"]
    done = subprocess.run(
        [*command, "-s", str(_SCRIPT), target.url],
        env={**os.environ, **environment}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    load = Load(**json.loads(line.removeprefix("RESULT ")))
    if load.errors or load.refused or not load.ok:
        raise RuntimeError(f"{target.url}: {load}")
    return load
