"""Promotion itself is tested with real workers; here, how MLflow learns of it, and late workers."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import pytest
from fakeredis import FakeRedis

import training
from cli import models
from shared.records import WORKER_MISSED_S, WORKER_SILENT_S
from shared.rollout import Rollout, RolloutStore
from shared.settings import Settings
from shared.trials import TrialStore
from shared.worklist import Worklist
from tests.heartbeats import beat

TITLE = "steel@0123456789ab"


@pytest.fixture
def marked(monkeypatch: pytest.MonkeyPatch) -> mock.Mock:
    tracking = mock.Mock()
    monkeypatch.setattr(training, "tracking", tracking, raising=False)
    return tracking.set_champion


def settings(folder: Path, uri: str = "") -> Settings:
    return Settings(_env_file=None, data_dir=folder, mlflow_tracking_uri=uri)


def test_a_champion_is_marked_where_runs_are_recorded(tmp_path: Path, marked: mock.Mock) -> None:
    (tmp_path / "mlflow.db").touch()

    models._mark(TITLE, settings(tmp_path))

    marked.assert_called_once_with("steel", "0123456789ab")


def test_a_champion_is_marked_on_a_server(tmp_path: Path, marked: mock.Mock) -> None:
    models._mark(TITLE, settings(tmp_path, "http://127.0.0.1:9"))

    marked.assert_called_once()


def test_who_records_no_runs_hears_nothing_of_mlflow(tmp_path: Path, marked: mock.Mock) -> None:
    models._mark(TITLE, settings(tmp_path))

    marked.assert_not_called()


def fleet_of(redis: FakeRedis) -> models.Fleet:
    return models.Fleet(RolloutStore(redis), TrialStore(redis), Worklist(redis, record_ttl_s=60))


def test_a_worker_whose_heartbeat_is_late_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    redis = FakeRedis()
    beat(redis, "w1", age_s=WORKER_SILENT_S + 1, rollout=1)
    answer = {"model": TITLE, "rollout": 2}
    monkeypatch.setattr(models.time, "sleep", lambda _: beat(redis, "w1", **answer))

    assert models.follow(fleet_of(redis), Rollout(number=2), wait_s=60) == 0

    assert capsys.readouterr().out == f"w1: serves {TITLE}\n"


def test_a_worker_that_is_gone_is_not_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    redis = FakeRedis()
    beat(redis, "w1", age_s=WORKER_MISSED_S + 1, rollout=1)

    assert models.follow(fleet_of(redis), Rollout(number=2), wait_s=60) == 0

    assert "no worker is running" in capsys.readouterr().out
