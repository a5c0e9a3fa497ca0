"""Process logs: one JSON object a line, so that no text from outside can forge a line."""

from __future__ import annotations

import logging

from pythonjsonlogger.json import JsonFormatter

_QUIET = ("celery.app.trace", "celery.worker.strategy", "httpx", "uvicorn.access")


def configure_logs(level: str) -> None:
    """Logs to standard error; called once by each process, before it does anything else."""
    handler = logging.StreamHandler()
    handler.setFormatter(
        JsonFormatter(
            "{asctime}{levelname}{name}{message}",
            style="{",
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
        )
    )
    logging.captureWarnings(True)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in _QUIET:  # a line for every task is inference_log.txt's job
        logging.getLogger(name).setLevel(logging.WARNING)
