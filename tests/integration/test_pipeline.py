"""`dvc repro` in a repository of its own: it runs once, then only what a change touches."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from shared.model.inspector import open_inspector
from shared.model.labels import LABELS

ROOT = Path(__file__).parents[2]
STAGES = ["data", "prepare", "embed", "train", "certify", "evaluate", "export"]

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]


def run(repo: Path, *command: str) -> str:
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(repo),
        "HOME": str(repo.parent),
        "DVC_NO_ANALYTICS": "1",
        # no network: what asks a hub fails at once
        **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "https_proxy"), "http://127.0.0.1:9"),
    }
    done = subprocess.run(command, cwd=repo, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def dvc(repo: Path, *arguments: str) -> str:
    return run(repo, sys.executable, "-m", "dvc", *arguments)


def ran(output: str) -> list[str]:
    return re.findall(r"Running stage '(\w+)'", output)


def change(repo: Path, section: str, **values: object) -> None:
    path = repo / "params.yaml"
    params = yaml.safe_load(path.read_text())
    params[section].update(values)
    path.write_text(yaml.safe_dump(params))


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our pipeline and code, a tower of seconds, 20 photos a class; every stage has run once."""
    repo = tmp_path_factory.mktemp("home") / "repo"
    repo.mkdir()
    for name in ("training", "shared", ".dvc/config", ".dvcignore", "dvc.yaml", "params.yaml"):
        source, target = ROOT / name, repo / name
        target.parent.mkdir(exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    rng = np.random.default_rng(0)
    for label in LABELS:
        (repo / "photos" / label).mkdir(parents=True)
        for number in range(20):
            pixels = rng.integers(90, 140, (72, 96, 3), np.uint8)
            if label == "scratches":
                cv2.line(pixels, (5, int(rng.integers(70))), (90, 40), (250, 250, 250), 3)
            cv2.imwrite(str(repo / "photos" / label / f"{number}.png"), pixels)
    change(repo, "data", source="photos")
    change(
        repo,
        "embed",
        tower={"model": "scratch-test-pipeline", "timm": "test_efficientnet"},
        preprocess={"size": 64, "mean": [0.5] * 3, "std": [0.5] * 3},
        features={"depths": [2, 4], "embedding": True},
    )
    change(repo, "train", hidden=8, epochs=3, hold_out=1)
    change(repo, "export", name="tiny", goldens=[0], int8=None)
    run(repo, "git", "init", "--quiet")
    assert ran(dvc(repo, "repro")) == STAGES
    return repo


def test_only_what_a_change_touches_runs_again(repo: Path) -> None:
    assert open_inspector(repo / "ckpts" / "tiny").manifest.data["images"] == 40

    assert ran(dvc(repo, "repro")) == []

    change(repo, "export", goldens=[1])
    assert ran(dvc(repo, "repro")) == ["export"]

    change(repo, "certify", missed=0.9, confidence=0.5)  # what so few photos can promise
    assert ran(dvc(repo, "repro")) == ["certify", "evaluate", "export"]
    certificate = open_inspector(repo / "ckpts" / "tiny").manifest.certificates["f32"]
    assert certificate.clean_below is not None and certificate.scratched_from is None
    dvc(repo, "metrics", "show")

    before = (repo / "params.yaml").read_text()
    for section, value in {
        "build": {"finer": [96]},
        "data": {"seed": 7},
        "prepare": {"near": 40},
        "embed": {"batch": 4},
        "train": {"dropout": 0.5},
        "certify": {"missed": 0.5},
        "evaluate": {"bins": 5},
    }.items():
        change(repo, section, **value)
        assert changed(repo) == ([] if section == "build" else [section])
        (repo / "params.yaml").write_text(before)


def test_a_fresh_clone_makes_the_same_checkpoint(repo: Path, tmp_path: Path) -> None:
    """Nothing but what is in git: neither DVC's cache nor ours."""
    run(repo, "git", "add", ".")
    run(repo, "git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "all")
    clone = tmp_path / "clone"
    run(repo, "git", "clone", "--quiet", str(repo), str(clone))
    made = {f.relative_to(repo): f.read_bytes() for f in files(repo / "ckpts")}
    shutil.rmtree(clone / "ckpts")

    assert ran(dvc(clone, "repro")) == STAGES

    assert {f.relative_to(clone): f.read_bytes() for f in files(clone / "ckpts")} == made
    for name in ("metrics.json", "exported.json"):
        assert (clone / "pipeline" / name).read_text() == (repo / "pipeline" / name).read_text()
    assert ran(dvc(clone, "repro")) == []


def test_a_photo_less_is_noticed(repo: Path) -> None:
    photo = repo / "photos" / "scratches" / "0.png"
    kept = photo.read_bytes()
    photo.unlink()
    assert changed(repo) == ["data"]
    photo.write_bytes(kept)


def changed(repo: Path) -> list[str]:
    return re.findall(r"^(\w+):", dvc(repo, "status"), re.MULTILINE)


def files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]


def test_a_remote_brings_back_what_was_pushed(repo: Path) -> None:
    """A local folder; every other kind of remote goes the same way through DVC."""
    dvc(repo, "remote", "add", "--default", "shelf", str(repo.parent / "shelf"))
    dvc(repo, "push")
    features = (repo / "pipeline" / "features.npz").read_bytes()
    shutil.rmtree(repo / ".dvc" / "cache")
    shutil.rmtree(repo / "classification_dataset")
    (repo / "pipeline" / "features.npz").unlink()

    dvc(repo, "pull")

    assert (repo / "pipeline" / "features.npz").read_bytes() == features
    assert len(list((repo / "classification_dataset").rglob("*.png"))) == 40
