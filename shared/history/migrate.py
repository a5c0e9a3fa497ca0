"""Brings the tables to what this version knows, whoever comes first: api, worker or command line.

Alembic is loaded only where something is to be done.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, select, table, text
from sqlalchemy.sql import column

#: the newest of `migrations/versions`
HEAD = "0001"
#: others, such as MLflow, keep an `alembic_version` of their own in the same database
VERSION_TABLE = "scratch_history_version"
_FOLDER = Path(__file__).parent / "migrations"
#: of Postgres' advisory lock: any number that nobody else uses
_LOCK = 7_272_428_241


def migrate(engine: Engine) -> None:
    """Raises SQLAlchemyError, and OSError where a SQLite file cannot be locked."""
    with engine.connect() as connection:
        if _revision(connection) == HEAD:
            return
    with _alone(engine) as connection:
        revision = _revision(connection)
        if revision is None or revision < HEAD:  # not one of a newer version: it only adds
            _upgrade(connection)


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    version = table(VERSION_TABLE, column("version_num"))
    return connection.execute(select(version.c.version_num)).scalar()


@contextmanager
def _alone(engine: Engine) -> Iterator[Connection]:
    """One transaction, and nobody else migrates meanwhile."""
    if engine.dialect.name != "sqlite":
        with engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            yield connection
        return
    with Path(f"{engine.url.database}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with engine.connect() as connection:
            # For good: who reads does not wait for who writes.
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        with engine.begin() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")  # Python begins none for a CREATE
            yield connection


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, HEAD)
