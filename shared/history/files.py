"""Kept images as files: in a folder, or wherever fsspec leads by URL."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shared.errors import HistoryUnavailable
from shared.settings import Settings

logger = logging.getLogger(__name__)


def file_key(task_id: str, at: float) -> str:
    """One a task, below the day of its answer, so that a bucket can be read by people."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}/{task_id}"


class ImageFiles:
    """Threads may share it. Raises HistoryUnavailable where the store does not answer."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.history_files or str(settings.data_dir.resolve() / "history")
        self._store: Any = None
        self._root = ""

    def write(self, key: str, image: bytes) -> None:
        """Whole or not at all."""
        store = self._opened()
        try:
            if "file" in store.protocol:
                _write(Path(self._path(key)), image)
            else:
                store.pipe_file(self._path(key), image)
        except Exception as error:  # each store raises errors of its own kind
            raise _away(error) from error

    def read(self, key: str) -> bytes | None:
        """None when there is no such file."""
        store = self._opened()
        try:
            return bytes(store.cat_file(self._path(key)))
        except FileNotFoundError:
            return None
        except Exception as error:
            raise _away(error) from error

    def delete(self, key: str) -> None:
        """No such file: nothing to do."""
        store = self._opened()
        try:
            store.rm_file(self._path(key))
        except FileNotFoundError:
            return
        except Exception as error:
            raise _away(error) from error

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}"

    def _opened(self) -> Any:
        """fsspec itself keeps one store for one URL."""
        if self._store is None:
            import fsspec

            try:
                self._store, root = fsspec.url_to_fs(self._url)
            except Exception as error:  # such as a store whose package is not installed
                raise _away(error) from error
            self._root = root.rstrip("/")
        return self._store


def _write(path: Path, image: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}")
    draft.write_bytes(image)
    draft.replace(path)


def _away(error: Exception) -> HistoryUnavailable:
    logger.error("the store of images does not answer: %s: %s", type(error).__name__, error)
    return HistoryUnavailable()
