"""A worker proves its model before it takes work, and ends with the reason when it cannot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli.stack import free_port
from tests.checkpoints import tiny_checkpoint
from tests.integration.service import ROOT


def start_worker(ckpt: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """No Redis listens on its port: a sound worker would wait for one, a bad one must end."""
    environment = {
        **os.environ, "SCRATCH_CKPT": str(ckpt), "SCRATCH_RUNTIME": "openvino",
        "REDIS_URL": f"redis://127.0.0.1:{free_port()}/0",
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, "-m", "celery", "--app", "worker.app", "worker", "--pool", "threads"],
        cwd=ROOT, env={**environment, **settings}, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip


@pytest.fixture
def ckpt(tmp_path: Path) -> Path:
    return tiny_checkpoint(tmp_path / "tiny", openvino=True)


def test_wrong_golden_answers_end_the_worker(ckpt: Path) -> None:
    manifest = json.loads((ckpt / "manifest.json").read_text())
    manifest["goldens"][1]["logits"][0] += 1
    (ckpt / "manifest.json").write_text(json.dumps(manifest))

    worker = start_worker(ckpt)

    assert worker.returncode == 1
    assert "golden-1.png, expected" in worker.stderr


def test_a_missing_checkpoint_ends_the_worker(tmp_path: Path) -> None:
    worker = start_worker(tmp_path / "nothing")

    assert worker.returncode == 1
    assert "is no checkpoint" in worker.stderr


def test_a_runtime_the_checkpoint_lacks_ends_the_worker(ckpt: Path) -> None:
    worker = start_worker(ckpt, SCRATCH_PRECISION="int8")

    assert worker.returncode == 1
    assert "has no OpenVINO graph for int8" in worker.stderr
