"""The one way to SQL: opens the database on first use and brings its tables up to date."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import SQLAlchemyError

from shared.errors import HistoryUnavailable
from shared.history.migrate import migrate
from shared.settings import Settings

logger = logging.getLogger(__name__)

#: seconds until another writer, or a server that does not answer, counts as trouble
_PATIENCE_S = 5
#: what people write and what providers hand out, to SQLAlchemy's name of our driver
_DRIVERS = {"postgres": "postgresql+psycopg", "postgresql": "postgresql+psycopg"}


def database_url(settings: Settings) -> URL:
    """Raises HistoryUnavailable for what is no URL."""
    if not settings.history_url:
        return URL.create("sqlite", database=str(settings.data_dir.resolve() / "history.db"))
    try:
        url = make_url(settings.history_url)
    except SQLAlchemyError as error:
        raise HistoryUnavailable("SCRATCH_HISTORY_URL is not the URL of a database.") from error
    return url.set(drivername=_DRIVERS.get(url.drivername, url.drivername))


class Database:
    """Threads may share it. A server that is away is asked again on the next use."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._opening = threading.Lock()
        self._engine: Engine | None = None

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """One transaction. Raises HistoryUnavailable."""
        try:
            with self._opened().begin() as connection:
                yield connection
        except (SQLAlchemyError, OSError, ImportError) as error:
            logger.error("the history does not answer: %s", _cause(error))
            raise HistoryUnavailable from error

    def close(self) -> None:
        with self._opening:
            if self._engine:
                self._engine.dispose()
                self._engine = None

    def _opened(self) -> Engine:
        with self._opening:
            if self._engine is None:
                engine = _engine(database_url(self._settings))
                try:
                    migrate(engine)
                except BaseException:
                    engine.dispose()
                    raise
                self._engine = engine
            return self._engine


def _engine(url: URL) -> Engine:
    if url.get_backend_name() != "sqlite":
        alive = {"connect_timeout": _PATIENCE_S, "tcp_user_timeout": _PATIENCE_S * 1000}
        return create_engine(url, pool_pre_ping=True, connect_args=alive)
    file = Path(url.database or "")
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file.touch(mode=0o600)  # what people wrote is nobody else's
    engine = create_engine(url, connect_args={"timeout": _PATIENCE_S})

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _record: object) -> None:
        # With a write-ahead log a crash of the machine may lose the last words, never the file.
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA secure_delete=ON")  # what is forgotten is overwritten

    return engine


def _cause(error: BaseException) -> str:
    """Without the statement: its values are photos and notes."""
    return f"{type(error).__name__}: {getattr(error, 'orig', None) or error}"
