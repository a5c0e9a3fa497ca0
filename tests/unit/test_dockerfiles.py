"""The images are made of all of our packages: one that is left out would be missed at run time."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"][
    "targets"
]["wheel"]["packages"]


@pytest.mark.parametrize("name", ["Dockerfile.api", "Dockerfile.worker"])
def test_every_package_is_copied(name: str) -> None:
    lines = (ROOT / name).read_text().splitlines()
    ignored = (ROOT / ".dockerignore").read_text().splitlines()

    for package in PACKAGES:
        assert f"COPY {package} {package}" in lines
        assert f"!{package}" in ignored


@pytest.mark.parametrize("name", ["Dockerfile.api", "Dockerfile.worker"])
def test_nothing_is_installed_without_a_hash(name: str) -> None:
    """Our own wheel apart, which was made a line before from what was copied."""
    text = re.sub(r"^ *#.*\n", "", (ROOT / name).read_text(), flags=re.MULTILINE)
    text = text.replace("\\\n", " ")
    commands = [
        command.strip()
        for line in re.findall(r"^RUN (.*)", text, re.MULTILINE)
        for command in line.split("&&")
        if "bin/pip " in command
    ]
    assert commands
    for command in commands:
        if "--require-hashes" in command:
            (lock,) = re.findall(r"--requirement (\S+)", command)
            assert (ROOT / lock).exists(), command
        else:
            assert "--no-deps" in command, command
            assert "--no-build-isolation" in command or command.endswith("/wheel/*.whl"), command
