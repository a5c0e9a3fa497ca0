"""A history of a test's own: on SQLite, and, where that is asked for, on Postgres."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.history.schema import metadata
from shared.history.store import HistoryStore
from shared.settings import Settings
from tests import postgres


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    with postgres.running() as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    url = request.getfixturevalue("postgres_url") if request.param == "postgres" else ""
    return Settings(_env_file=None, data_dir=tmp_path / "data", history_days=30, history_url=url)


@pytest.fixture
def store(settings: Settings) -> Iterator[HistoryStore]:
    store = HistoryStore(settings)
    yield store
    with store.database.begin() as connection:
        for table in metadata.sorted_tables:
            connection.execute(table.delete())
    store.close()
