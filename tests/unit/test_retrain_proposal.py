"""A better candidate becomes a pull request; any other becomes nothing. `gh` is a stand-in."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "deploy" / "retrain-proposal.sh"
GH = """#!/usr/bin/env bash
case "$1 $2" in
  "run download") cp -R "$ARTIFACT/." "${@: -1}" ;;
  "pr create") printf '%s\\n' "$@" > "$ASKED"; cat "${@: -1}" >> "$ASKED" ;;
  *) exit 1 ;;
esac
"""


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


class Place:
    """A clone whose origin, by its name on GitHub, is a bare repository beside it."""

    def __init__(self, root: Path) -> None:
        self.clone, self.artifact, self.asked = root / "clone", root / "artifact", root / "asked"
        self._bare = root / "bare.git"
        write(root / "bin" / "gh", GH).chmod(0o755)
        self._env = os.environ | {
            "PATH": f"{root / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(root),
            "ARTIFACT": str(self.artifact),
            "ASKED": str(self.asked),
            "GH_TOKEN": "secret-token",
            "GITHUB_RUN_ID": "42",
            "GITHUB_REPOSITORY": "someone/detector",
        }
        self.git("init", "--quiet", "--bare", str(self._bare), cwd=root)
        self.git("init", "--quiet", str(self.clone), cwd=root)
        github = "https://github.com/someone/detector.git"
        self.git("config", "--global", f"url.{self._bare}.insteadOf", github)
        for name in ("ckpts/a/manifest.json", "pipeline/.gitignore", "dvc.lock", "api/main.py"):
            write(self.clone / name, "old")
        self.git("add", ".")
        self.git("-c", "user.name=t", "-c", "user.email=t@t", "commit", "--quiet", "-m", "old")

    def git(self, *arguments: str, cwd: Path | None = None) -> str:
        command = ["git", *arguments]
        done = subprocess.run(
            command, cwd=cwd or self.clone, env=self._env, check=True, capture_output=True
        )
        return done.stdout.decode()

    def bring(self, decision: str) -> None:
        for name in ("ckpts/a/manifest.json", "pipeline/metrics.json", "dvc.lock", "api/main.py"):
            write(self.artifact / name, "new")
        write(self.artifact / ".data/retrain/retrain.md", "It finds 12 more.")
        write(self.artifact / ".data/retrain/retrain.json", json.dumps({"decision": decision}))

    def propose(self) -> str:
        command = ["bash", str(SCRIPT)]
        done = subprocess.run(
            command, cwd=self.clone, env=self._env, check=True, capture_output=True, text=True
        )
        return done.stdout + done.stderr

    def branches(self) -> list[str]:
        return self.git("branch", "--list", cwd=self._bare).split()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    if not shutil.which("git"):
        pytest.skip("git is not installed")
    return Place(tmp_path)


def test_a_better_candidate_becomes_a_pull_request(place: Place) -> None:
    place.bring("better")

    said = place.propose()

    assert place.branches() == ["retrain/42"]
    changed = place.git("diff", "--name-only", "HEAD~1").split()
    assert changed == ["ckpts/a/manifest.json", "dvc.lock", "pipeline/metrics.json"]
    asked = place.asked.read_text()
    assert "It finds 12 more." in asked
    assert "retrain/42" in asked
    assert "secret-token" not in said + asked + place.git("config", "--list")


@pytest.mark.parametrize("decision", ["not better", "not enough evidence", "$(touch evil)"])
def test_any_other_becomes_nothing(place: Place, decision: str) -> None:
    place.bring(decision)

    assert decision in place.propose()

    assert place.branches() == []
    assert not place.asked.exists()
    assert not (place.clone / "evil").exists()


def test_what_is_in_git_already_is_not_proposed(place: Place) -> None:
    place.bring("better")
    for name in ("ckpts/a/manifest.json", "pipeline/metrics.json", "dvc.lock"):
        write(place.clone / name, "new")
    place.git("add", ".")
    place.git("-c", "user.name=t", "-c", "user.email=t@t", "commit", "--quiet", "-m", "new")

    assert "nothing to propose" in place.propose()

    assert place.branches() == []
