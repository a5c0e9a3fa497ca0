"""Promotion itself is tested with real workers; here, how MLflow learns of it."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import pytest

import training
from cli import models
from shared.settings import Settings

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
