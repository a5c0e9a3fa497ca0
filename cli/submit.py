"""`scratch submit`: sends files to a running service, a few at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cli.output import image_files, report, unreadable
from scratch import Client, Inspection, NotTheService, ServiceUnreachable

#: as `scratch predict` tells them
_SHOWN = ("pred", "prob_no_scratches", "prob_scratches", "verdict", "bound", "reason")


def submit(paths: list[Path], url: str, *, api_key: str, as_json: bool) -> int:
    """Returns the exit code: 1 if a file was refused. `api_key` may be empty."""
    files = image_files(paths)
    return report(_answers(files, url, api_key), total=len(files), as_json=as_json)


def _answers(files: list[Path], url: str, api_key: str) -> Iterator[dict[str, Any]]:
    with Client(url, api_key=api_key) as client:
        for file, answer in client.predict_many(files):
            match answer:
                case Inspection():
                    yield {"file": str(file), **{name: getattr(answer, name) for name in _SHOWN}}
                case OSError():
                    yield unreadable(Path(str(file)), answer)
                case _:
                    error = {"code": answer.code, "message": _message(answer, url)}
                    yield {"file": str(file), "error": error}


def _message(error: Exception, url: str) -> str:
    # Of the service's own refusals everybody knows whose they are.
    return (
        f"{url}: {error}" if isinstance(error, ServiceUnreachable | NotTheService) else str(error)
    )
