"""Migrations lead to the tables that the code knows, once, whoever comes first."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import insert, text

from shared.history import migrate
from shared.history.database import Database
from shared.history.schema import images, metadata
from shared.history.store import HistoryStore
from shared.settings import Settings
from tests.fakes_history import answered


def test_migrations_lead_to_the_tables_that_the_code_knows(store: HistoryStore) -> None:
    with store.database.begin() as connection:
        options = {"version_table": migrate.VERSION_TABLE, "compare_type": True}
        found = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(found, metadata) == []


def test_the_newest_is_the_one_that_is_asked_for() -> None:
    config = Config()
    config.set_main_option("script_location", str(migrate._FOLDER))
    assert ScriptDirectory.from_config(config).get_current_head() == migrate.HEAD


def test_many_may_come_first(settings: Settings) -> None:
    databases = [Database(settings) for _ in range(4)]

    def write(number: int) -> None:
        with databases[number].begin() as connection:
            connection.execute(insert(images), vars(answered(number)))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    with databases[0].begin() as connection:
        assert len(connection.execute(images.select()).all()) == 4
        connection.execute(images.delete())
    for database in databases:
        database.close()


def test_tables_of_a_newer_version_are_left_alone(store: HistoryStore, settings: Settings) -> None:
    with store.database.begin() as connection:
        connection.execute(text(f"UPDATE {migrate.VERSION_TABLE} SET version_num = '9999'"))
    newer = HistoryStore(settings)

    assert newer.count_unlabelled() == 0
    newer.close()
    with store.database.begin() as connection:
        statement = f"UPDATE {migrate.VERSION_TABLE} SET version_num = '{migrate.HEAD}'"
        connection.execute(text(statement))
