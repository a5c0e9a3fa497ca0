from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

from tests.integration.service import PATIENCE_S, ROOT, Service, wait_until
from tests.photos import jpeg


def test_what_arrives_in_a_folder_is_inspected(service: Service, tmp_path: Path) -> None:
    url = str(service.http.base_url)
    command = [sys.executable, "-m", "cli.main", "watch", str(tmp_path), "--url", url, "--json"]
    (tmp_path / "early.jpg").write_bytes(jpeg(1))
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        wait_until((tmp_path / "early.jpg.scratch.json").exists)
        (tmp_path / "late.jpg").write_bytes(jpeg(2))
        wait_until((tmp_path / "late.jpg.scratch.json").exists)
        process.send_signal(signal.SIGINT)
        printed, _ = process.communicate(timeout=PATIENCE_S)

    assert process.returncode == 0
    told = [json.loads(line) for line in printed.splitlines()]
    assert [Path(answer["file"]).name for answer in told] == ["early.jpg", "late.jpg"]
    tag = json.loads((tmp_path / "late.jpg.scratch.json").read_text())
    assert tag["pred"] in ("scratches", "no_scratches") and len(tag["where"]["box"]) == 4
