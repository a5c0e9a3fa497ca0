"""`scratch train` refuses in a sentence what it cannot learn from."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app

PARAMS = Path(__file__).parents[3] / "params.yaml"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def refused(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["train", *arguments, "--params", str(PARAMS)])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    return result.exit_code, result.output


def test_a_folder_that_is_not_there() -> None:
    code, said = refused("nowhere")
    assert (code, "nowhere is not a folder" in said) == (1, True)


def test_a_class_that_is_missing(tmp_path: Path) -> None:
    (tmp_path / "photos" / "scratches").mkdir(parents=True)
    code, said = refused("photos")
    assert (code, "no folder no_scratches/" in said) == (1, True)


def test_photos_that_cannot_be_read(tmp_path: Path) -> None:
    for label in ("scratches", "no_scratches"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        (tmp_path / "photos" / label / "a.jpg").write_bytes(b"no image")
    code, said = refused("photos")
    assert code == 1
    assert "no_scratches has 0 usable photos" in said
    assert "no_scratches/a.jpg" in said


@pytest.mark.parametrize("name", ["scratch-lite", "../escape"])
def test_a_name_that_must_not_be_written(name: str) -> None:
    code, said = refused("photos", "--name", name)
    assert (code, name in said) == (2, True)


def test_params_that_are_not_there() -> None:
    result = CliRunner().invoke(app, ["train", "photos", "--params", "none.yaml"])
    assert (result.exit_code, "none.yaml" in result.output) == (2, True)
