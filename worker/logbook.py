"""`inference_log.txt`: one JSON object a line for every inspected image, good or bad."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from logging.handlers import QueueHandler, QueueListener
from pathlib import Path
from queue import SimpleQueue

from concurrent_log_handler import ConcurrentRotatingFileHandler

from shared.contract import Outcome


class Logbook:
    """Safe with several worker processes; rotated by size; written by a thread of its own.

    JSON escapes line breaks and control characters, so no text from outside can forge a line.
    """

    def __init__(self, path: Path, *, max_bytes: int, backups: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = ConcurrentRotatingFileHandler(
            str(path), maxBytes=max_bytes, backupCount=backups, encoding="utf-8"
        )
        file.setFormatter(logging.Formatter("%(message)s"))
        lines: SimpleQueue[logging.LogRecord] = SimpleQueue()
        self._listener = QueueListener(lines, file)
        self._file = file
        self._lines = QueueHandler(lines)
        self._listener.start()

    def write(self, outcome: Outcome) -> None:
        entry = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "task_id": outcome.id,
            "sha256": outcome.sha256,
            "outcome": outcome.status.value,
            **(outcome.prediction.encode() if outcome.prediction else {}),
            **({"ruling": outcome.ruling.encode()} if outcome.ruling else {}),
            **({"error": outcome.failure.encode()} if outcome.failure else {}),
            "model": outcome.model,
            "variant": outcome.variant,
            "timings_ms": outcome.timings_ms,
        }
        line = json.dumps(entry, ensure_ascii=True)
        self._lines.emit(logging.LogRecord("inference", logging.INFO, "", 0, line, None, None))

    def close(self) -> None:
        """Writes what is still waiting."""
        self._listener.stop()
        self._file.close()
