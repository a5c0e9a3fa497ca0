"""`scratch retrain`: from data to a verdict, with a pipeline that is quickly through."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from cli import retrain as module
from cli.retrain import retrain
from shared.settings import Settings
from tests.checkpoints import tiny_checkpoint, tiny_variant
from tests.photos import jpeg

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`scratch-lite` is the champion; `candidate` says the opposite."""
    folder = tmp_path_factory.mktemp("models")
    tiny_checkpoint(folder / "scratch-lite", openvino=True, name="scratch-lite")
    tiny_variant(
        folder / "scratch-lite",
        folder / "candidate",
        name="scratch-lite",
        factor=-1.0,
        resize="squash",
    )
    return folder


@pytest.fixture
def project(tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose pipeline writes the candidate into the champion's folder."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    shutil.copytree(models / "scratch-lite", tmp_path / "ckpts" / "scratch-lite")

    def build(params: Any, work: Any, out: Path, source: Path | None) -> None:
        shutil.rmtree(out / "scratch-lite")
        shutil.copytree(models / "candidate", out / "scratch-lite")
        images = []
        for number in range(12):
            file = f"{number}.jpg"
            (tmp_path / file).write_bytes(jpeg(number))
            label = ("scratches", "no_scratches")[number % 2]
            split = "train" if number > 9 else "test"
            images.append({"file": file, "label": label, "split": split})
        work.index.write_text(json.dumps({"root": str(tmp_path), "images": images}))

    monkeypatch.setattr("training.build.build", build)
    return tmp_path


def run(project: Path, *, pull: bool = False) -> int:
    settings = Settings(_env_file=None, runtime="openvino")
    return retrain(settings, data=project, pull=pull, report=project / "report")


def test_the_candidate_is_held_against_the_champion_that_it_overwrote(project: Path) -> None:
    assert run(project) == 0

    found = json.loads((project / "report" / "retrain.json").read_text())
    assert found["champion"] != found["candidate"]
    assert found["images"] == 10
    # What says the opposite of everything is right where the other is wrong.
    assert found["champion_only"] + found["candidate_only"] == 10
    assert sum(found["accuracy"]) == pytest.approx(1)
    text = (project / "report" / "retrain.md").read_text()
    assert text.startswith(f"# Retraining: {found['decision']}")


def test_data_that_cannot_be_pulled_ends_it_before_anything_is_trained(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (project / "ckpts/scratch-lite/manifest.json").read_bytes()
    monkeypatch.setattr(module.sys, "executable", shutil.which("false"))

    assert run(project, pull=True) == 2

    assert "dvc pull failed" in capsys.readouterr().err
    assert (project / "ckpts/scratch-lite/manifest.json").read_bytes() == before


def test_a_pipeline_is_reproduced_where_there_is_one(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "dvc.yaml").write_text("stages: {}\n")
    monkeypatch.setattr(module.sys, "executable", shutil.which("false"))
    settings = Settings(_env_file=None, runtime="openvino")

    assert retrain(settings, data=None, pull=False, report=project / "report") == 2

    assert "dvc repro failed" in capsys.readouterr().err


def test_without_a_champion_there_is_no_verdict(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(project / "ckpts")
    assert run(project) == 2
    assert capsys.readouterr().err.startswith("scratch: ")
