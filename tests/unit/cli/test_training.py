from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from cli.main import app


def test_a_wrong_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "old.pth").write_text("junk")
    arguments = ["import", str(tmp_path / "old.pth"), "--backbone", "RN50", "--out", str(tmp_path)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "old.pth is no file of tensors" in result.stderr
    assert "Traceback" not in result.output
