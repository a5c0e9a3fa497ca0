"""Starts a server for a measurement, waits until it answers a photo, and ends all of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from benchmarks.wrk import Target
from cli.stack import free_port

ROOT = Path(__file__).parents[1]
_START_S = 120


@contextmanager
def service(folder: Path, **settings: str) -> Iterator[Target]:
    """`scratch serve` as a user runs it, in its own folder."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    environment = {"PORT": str(port), "FLOWER_PORT": str(free_port()), **settings}
    environment = {"SCRATCH_CKPT": str(ROOT / "ckpts" / "scratch-lite"), **environment}
    target = Target(url=f"http://127.0.0.1:{port}")
    with server([sys.executable, "-m", "cli.main", "serve"], target, environment, folder):
        yield target


@contextmanager
def server(
    command: Sequence[str], target: Target, environment: Mapping[str, str], folder: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Yields when the first photo is answered. Raises RuntimeError when none is."""
    folder.mkdir(parents=True, exist_ok=True)
    clean = {k: v for k, v in os.environ.items() if not k.startswith("SCRATCH_")}
    clean.pop("REDIS_URL", None)
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env={**clean, "PYTHONPATH": str(ROOT), **environment},
            stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        _wait_for_an_answer(process, target, log)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(30)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # workers that their server left behind


def _wait_for_an_answer(process: subprocess.Popen[bytes], target: Target, log: Path) -> None:
    photo = (ROOT / "docs" / "example.jpg").read_bytes()
    give_up_at = time.monotonic() + _START_S
    while time.monotonic() < give_up_at and process.poll() is None:
        try:
            if upload(target, photo).is_success:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.2)
    raise RuntimeError(f"no answer from {target.url}:\n{log.read_text(errors='replace')[-2000:]}")


def upload(target: Target, photo: bytes) -> httpx.Response:
    url = target.url + target.route
    if target.field:
        return httpx.post(url, files={target.field: ("a.jpg", photo)}, timeout=60)
    return httpx.post(url, content=photo, timeout=60)
