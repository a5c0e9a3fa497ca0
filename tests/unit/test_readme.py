"""README and Makefile say the same, and what README points to is there."""

from __future__ import annotations

import re
from pathlib import Path

from shared.settings import Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_every_make_target_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert set(re.findall(r"make ([a-z]+)\b", README)) <= targets | {"it"}


def test_every_link_and_example_file_exists() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README) + re.findall(r"=@(\S+)", README)

    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_setting_exists() -> None:
    known = {f"SCRATCH_{name.upper()}" for name in Settings.model_fields}

    assert set(re.findall(r"SCRATCH_[A-Z_]+[A-Z]", README)) <= known
