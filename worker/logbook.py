"""`inference_log.txt`: one JSON object a line for every inspected image, good or bad."""

from __future__ import annotations

import json
import logging
import time
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue
from threading import Thread

from concurrent_log_handler import ConcurrentRotatingFileHandler

from shared.contract import Outcome

#: seconds that a line may wait for others, and how many are written together
_GATHER_S = 0.05
_AT_ONCE = 100


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
        self._file = file
        self._lines: SimpleQueue[str | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name="logbook", daemon=True)
        self._thread.start()

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
        self._lines.put(json.dumps(entry, ensure_ascii=True))

    def close(self) -> None:
        """Writes what is still waiting."""
        self._lines.put(None)
        self._thread.join()
        self._file.close()

    def _run(self) -> None:
        """Each write locks and looks at the file: what came meanwhile goes with it."""
        open_ = True
        while open_:
            lines = [self._lines.get()]
            time.sleep(_GATHER_S)
            while len(lines) < _AT_ONCE and not self._lines.empty():
                lines.append(self._lines.get())
            open_ = None not in lines
            text = "\n".join(filter(None, lines))
            if text:
                self._file.handle(logging.LogRecord("", logging.INFO, "", 0, text, None, None))
