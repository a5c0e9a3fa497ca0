from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from cli.main import app
from shared.model.manifest import MANIFEST
from tests.checkpoints import tiny_checkpoint


def test_a_wrong_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "old.pth").write_text("junk")
    arguments = ["import", str(tmp_path / "old.pth"), "--backbone", "RN50", "--out", str(tmp_path)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "old.pth is no file of tensors" in result.stderr
    assert "Traceback" not in result.output


def _photo(folder: Path) -> None:
    cv2.imwrite(str(folder / "clean.png"), np.full((64, 64, 3), 120, np.uint8))


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Says "clean" whatever it sees."""
    folder = tiny_checkpoint(tmp_path / "tiny")
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["threshold"] = 0.999
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return folder


def test_limits_are_said_for_people_and_for_programs(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "clean").mkdir()
    _photo(tmp_path / "clean")
    arguments = ["limits", "--ckpt", str(checkpoint), "--clean", str(tmp_path / "clean")]
    said = CliRunner().invoke(app, [*arguments, "--trials", "2"])
    assert said.exit_code == 0, said.output
    assert "false alarms: 0 of 1" in said.stdout
    assert "contrast 0.50: wider than all that was tried" in said.stdout
    result = CliRunner().invoke(app, [*arguments, "--trials", "2", "--json"])
    found = json.loads(result.stdout)
    assert found["model"].startswith("tiny@")
    assert found["smallest"] == [
        {"contrast": contrast, "width": None, "pixels": None} for contrast in (0.25, 0.5)
    ]


def test_limits_without_photos_is_one_sentence(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    arguments = ["limits", "--ckpt", str(checkpoint), "--clean", str(tmp_path / "empty")]
    result = CliRunner().invoke(app, arguments)
    assert (result.exit_code, result.stderr) == (
        2,
        "scratch: there are no clean photos to draw on\n",
    )


def test_limits_of_no_checkpoint_is_one_sentence(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["limits", "--ckpt", "nothing", "--clean", str(tmp_path)])
    assert result.exit_code == 2
    assert result.stderr.startswith("scratch: nothing is no checkpoint")
