from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app
from shared.keys import read_keys
from shared.settings import get_settings


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SCRATCH_API_KEYS_FILE", str(tmp_path / "api-keys"))
    get_settings.cache_clear()
    return tmp_path / "api-keys"


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["keys", *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_a_key_is_alone_on_standard_output(file: Path) -> None:
    code, out, err = run("add", "ana")

    assert code == 0
    assert out.startswith("scratch_")
    assert out.count("\n") == 1
    assert out.strip() not in err
    assert list(read_keys(file)) == ["ana"]


def test_names_are_listed(file: Path) -> None:
    assert run("list") == (0, "", "")
    for name in ("ana", "bo"):
        run("add", name)
    assert run("list")[1] == "ana\nbo\n"


def test_who_removes_the_last_key_is_told_what_that_means(file: Path) -> None:
    run("add", "ana")
    run("add", "bo")
    assert run("remove", "ana") == (0, "", "")
    assert "refuses everybody" in run("remove", "bo")[2]


@pytest.mark.parametrize("arguments", [("add", "a b"), ("remove", "nobody")])
def test_what_cannot_be_is_one_sentence(arguments: tuple[str, str]) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (1, "")
    assert err.startswith("scratch: ") and err.count("\n") == 1
