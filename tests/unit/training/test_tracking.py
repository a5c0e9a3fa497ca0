"""Runs are recorded with what made them; a store that is away costs a warning and nothing else."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.model.manifest import load_manifest
from shared.settings import get_settings
from tests.checkpoints import tiny_checkpoint
from training import tracking
from training.params import Params
from training.train import Calibration
from training.workspace import Workspace

pytestmark = pytest.mark.filterwarnings("default")  # of SQLAlchemy and alembic below MLflow


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("mlflow")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        patch.setenv("SCRATCH_DATA_DIR", str(folder))
        get_settings.cache_clear()
        yield folder
    get_settings.cache_clear()


@pytest.fixture
def trained(work: Workspace) -> tuple[Path, Workspace]:
    """A checkpoint, and what the stage `train` left of its making."""
    calibration = Calibration(
        temperature=1, weight_decay=1, validation_loss=0.3, losses=(0.7, 0.5, 0.4)
    )
    work.calibration.write_text(calibration.model_dump_json())
    work.metrics.write_text("{}")
    return tiny_checkpoint(work.root.parent / "ckpt"), work


def test_a_run_keeps_what_made_it(
    store: Path, trained: tuple[Path, Workspace], params: Params
) -> None:
    checkpoint, work = trained
    manifest = load_manifest(checkpoint)
    version = tracking.log_run(checkpoint, params, work)
    client = tracking._client()
    model = client.get_model_version_by_alias(tracking.NAME, tracking.CHALLENGER)
    assert (str(model.version), model.tags["revision"]) == (version, manifest.revision)
    run = client.get_run(model.run_id)
    assert run.data.params["train.epochs"] == str(params.train.epochs)
    assert run.data.metrics["auroc"] == manifest.metrics["auroc"]
    assert run.data.tags["revision"] == manifest.revision
    assert len(client.get_metric_history(model.run_id, "loss")) == 3
    kept = {item.path for item in client.list_artifacts(model.run_id, "checkpoint")}
    assert "checkpoint/manifest.json" in kept
    assert {item.path for item in client.list_artifacts(model.run_id)} >= {"model-card.md"}

    assert tracking.set_champion(manifest.name, manifest.revision)
    champion = client.get_model_version_by_alias(tracking.NAME, tracking.CHAMPION)
    assert str(champion.version) == version


def test_an_unknown_champion_is_only_warned_about(
    store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert not tracking.set_champion("nobody", "abc")
    assert "nobody@abc is not marked as champion" in caplog.text


def test_a_server_that_is_away_costs_a_warning(
    trained: tuple[Path, Workspace],
    params: Params,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@127.0.0.1:9")
    get_settings.cache_clear()
    try:
        with caplog.at_level(logging.WARNING):
            assert tracking.log_run(trained[0], params, trained[1]) is None
    finally:
        get_settings.cache_clear()
    assert "MLflow at http://127.0.0.1:9" in caplog.text
    assert "this run is not recorded" in caplog.text
    assert "secret" not in caplog.text
