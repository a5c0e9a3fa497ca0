"""The hashed locks that `make` installs: the versions of requirements.lock, and all we ask for."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: the extras in each lock, as `make hashes` asks for them
EXTRAS = {
    "serve": ["serve"],
    "dev": ["dev"],
    "data": ["gdrive"],
    "image-api": ["api", "flower", "otel", "postgres"],
    "image-worker": ["worker", "otel", "postgres"],
    "image-worker-gpu": ["worker", "otel", "postgres", "torch"],
}
#: what an image starts, and the lock it is installed from
STARTS = {
    "image-api": "api.main, api.__main__, cli.keys, shared.monitor",
    "image-worker": "shared.model.runtime_openvino, worker.app, worker.health",
    "image-worker-gpu": "shared.model.runtime_torch, worker.app",
}
PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^ ;\\\n]+)", re.MULTILINE)


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(file: str) -> dict[str, str]:
    return {normal(name): version for name, version in PIN.findall((ROOT / file).read_text())}


@pytest.mark.parametrize("lock", [*EXTRAS, "image-build"])
def test_every_pin_has_a_hash(lock: str) -> None:
    text = (ROOT / "locks" / f"{lock}.txt").read_text()
    blocks = re.split(r"\n(?=\S)", text.strip())
    assert [block for block in blocks if "--hash=sha256:" not in block] == []


@pytest.mark.parametrize("lock", [*EXTRAS, "image-build"])
def test_versions_are_those_of_the_plain_lock(lock: str) -> None:
    """If this fails: `make hashes`."""
    plain, hashed = pins("requirements.lock"), pins(f"locks/{lock}.txt")
    differ = {
        name: version for name, version in hashed.items() if plain.get(name, version) != version
    }
    assert differ == {}


@pytest.mark.parametrize("lock", EXTRAS)
def test_what_we_depend_on_is_locked(lock: str) -> None:
    """If this fails: `make hashes`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras, todo = project["optional-dependencies"], [*EXTRAS[lock]]
    asked = list(project["dependencies"])
    while todo:
        for requirement in extras[todo.pop()]:
            own = re.match(r"scratch-detector\[(.*)\]", requirement)
            todo += own[1].split(",") if own else []
            asked += [] if own else [requirement]
    wanted = {normal(re.match(r"[A-Za-z0-9._-]+", requirement)[0]) for requirement in asked}  # type: ignore[index]
    assert wanted - pins(f"locks/{lock}.txt").keys() == set()


def test_what_builds_our_package_is_locked() -> None:
    lines = (ROOT / "locks" / "build.in").read_text().splitlines()
    asked = {re.split("[>=]", line)[0] for line in lines if not line.startswith("#")}
    assert asked == {"hatchling", "editables"}
    for lock in ("serve", "dev", "image-build"):
        assert asked <= pins(f"locks/{lock}.txt").keys()


@pytest.mark.parametrize("lock", STARTS)
def test_what_an_image_imports_is_in_it(lock: str) -> None:
    """Of the modules of ours that are loaded at the start: what they import while they are."""
    script = (
        f"import {STARTS[lock]}, sys\n"
        "for module in list(sys.modules.values()):\n"
        "    print(getattr(module, '__file__', None) or '')"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    ours = [Path(line) for line in run.stdout.splitlines() if line.startswith(f"{ROOT}/")]
    ours = [file for file in ours if ".venv" not in file.parts]
    distributions = packages_distributions()
    assert len(ours) > 20

    for file in ours:
        for name in imported(ast.parse(file.read_text()).body) & distributions.keys():
            offered_by = {normal(each) for each in distributions[name]} - {"scratch-detector"}
            assert not offered_by or offered_by & pins(f"locks/{lock}.txt").keys(), (file, name)


def imported(statements: list[ast.stmt]) -> set[str]:
    """Top-level packages; not those in functions, nor for type checkers alone."""
    found: set[str] = set()
    for statement in statements:
        if isinstance(statement, ast.Import):
            found |= {alias.name.split(".")[0] for alias in statement.names}
        elif isinstance(statement, ast.ImportFrom):
            found.add((statement.module or "").split(".")[0])
    return found
