"""The images are made of all of our packages: one that is left out would be missed at run time."""

from __future__ import annotations

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
    assert any(line.startswith("RUN mkdir " + " ".join(PACKAGES)) for line in lines)
