"""The real thing for integration tests: `scratch serve` as a user runs it, in its own folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
from redis import Redis

from cli.stack import embedded_redis_url, free_port

ROOT = Path(__file__).parents[2]
BUNDLED = ROOT / "ckpts" / "scratch-lite"

#: seconds to start or stop everything on a busy machine
PATIENCE_S = 60


@dataclass(frozen=True)
class Service:
    """A running stack."""

    folder: Path
    process: subprocess.Popen[str]
    http: httpx.Client
    flower: httpx.Client

    @property
    def redis_url(self) -> str:
        url = embedded_redis_url(self.folder / ".data")
        assert url
        return url

    @property
    def redis(self) -> Redis:
        return Redis.from_url(self.redis_url)

    def program(self, words: str) -> psutil.Process:
        """The one process of the stack whose command line has these words."""
        found = [p for p in self.processes() if words in " ".join(p.cmdline())]
        assert len(found) == 1, found
        return found[0]

    def processes(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def log(self, name: str) -> str:
        return (self.folder / ".data" / "logs" / f"{name}.log").read_text()

    def upload(self, data: bytes, **params: Any) -> httpx.Response:
        return self.http.post("/upload_image", files={"file": ("a.jpg", data)}, params=params)

    def workers(self) -> list[dict[str, Any]]:
        """What the api says of the workers, once one is ready: a heartbeat may be late."""
        found: list[dict[str, Any]] = []

        def heard() -> bool:
            found[:] = self.http.get("/readyz").json().get("workers", [])
            return bool(found)

        wait_until(heard)
        return found

    def is_ready(self) -> bool:
        try:
            return self.http.get("/readyz").is_success
        except httpx.HTTPError:
            return False


@contextmanager
def running(folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[Service]:
    """Starts a stack in `folder`, waits until it says that it is ready, stops it by SIGTERM."""
    port, flower_port = free_port(), free_port()
    settings = {
        "PORT": str(port), "FLOWER_PORT": str(flower_port), "SCRATCH_CKPT": str(BUNDLED),
        "SCRATCH_RUNTIME": "openvino",
    }  # fmt: skip
    clean = {key: value for key, value in os.environ.items() if not key.startswith("SCRATCH_")}
    clean.pop("REDIS_URL", None)
    process = subprocess.Popen(
        [sys.executable, "-m", "cli.main", "serve"],
        cwd=folder,
        env={**clean, "PYTHONPATH": str(ROOT), **settings, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        wait_for_line(process, "Ready:")
        with (
            httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S) as http,
            httpx.Client(base_url=f"http://127.0.0.1:{flower_port}", timeout=PATIENCE_S) as flower,
        ):
            yield Service(folder, process, http, flower)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE_S)


def wait_for_line(process: subprocess.Popen[str], start: str) -> None:
    assert process.stdout
    seen = []
    for line in process.stdout:
        seen.append(line)
        if line.startswith(start):
            return
    raise AssertionError("the stack did not start:\n" + "".join(seen))


def wait_until_written(redis: Redis) -> None:
    """Until it holds nothing back: while a disk is slow it answers before it has written, and what
    a kill then costs is not ours to keep."""
    wait_until(lambda: redis.info("persistence")["aof_pending_bio_fsync"] == 0)


def wait_until(condition: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    give_up_at = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < give_up_at, "waited in vain"
        time.sleep(0.05)
