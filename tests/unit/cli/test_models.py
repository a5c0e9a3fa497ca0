"""Promotion itself is tested with real workers; here, how MLflow learns of it, and late workers."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import pytest
from fakeredis import FakeRedis

import training
from cli import models
from shared.records import WORKER_MISSED_S, WORKER_SILENT_S, WORKERS_KEY, Heartbeat
from shared.rollout import Rollout, RolloutStore
from shared.settings import Settings
from shared.trials import TrialStore
from shared.worklist import Worklist

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


def beat(redis: FakeRedis, *, ago_s: float, rollout: int) -> None:
    now = redis.time()[0] - ago_s
    found = Heartbeat(name="w1", model=TITLE, variant="v", pid=1, beat_at=now, rollout=rollout)
    redis.hset(WORKERS_KEY, "w1", found.model_dump_json())


def test_a_worker_whose_heartbeat_is_late_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    redis = FakeRedis()
    beat(redis, ago_s=WORKER_SILENT_S + 1, rollout=1)
    monkeypatch.setattr(models.time, "sleep", lambda _: beat(redis, ago_s=0, rollout=2))

    assert models.follow(fleet_of(redis), Rollout(number=2), wait_s=60) == 0

    assert capsys.readouterr().out == f"w1: serves {TITLE}\n"


def test_a_worker_that_is_gone_is_not_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    redis = FakeRedis()
    beat(redis, ago_s=WORKER_MISSED_S + 1, rollout=1)

    assert models.follow(fleet_of(redis), Rollout(number=2), wait_s=60) == 0

    assert "no worker is running" in capsys.readouterr().out
