"""`scratch watch`: photos that arrive in a folder are inspected, then tagged or sorted.

What is done is written in the folder itself, so that a restart goes on where the last run ended: a
tag is a file `photo.jpg.scratch.json` beside the photo, sorting moves the photo into `scratches/`,
`no_scratches/` or `refused/`.
"""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from cli.output import report
from scratch import Client, Inspection, Refused, ScratchError
from shared.images import images_in

TAG = ".scratch.json"
SORTED = ("scratches", "no_scratches", "refused")
#: seconds between two looks; a file that changed in between is still being written
EVERY_S = 1.0
#: seconds until photos are tried again that the service could not take
AGAIN_S = 10.0
#: HTTP statuses that say something about the service, or about us, and nothing about the photo
_NOT_THE_PHOTO = {401, 403, 404, 408, 429}


def watch(folder: Path, url: str, *, api_key: str, move: bool, as_json: bool) -> int:
    """Goes on until SIGINT or SIGTERM; the exit code."""
    if not folder.is_dir():
        typer.echo(f"scratch: {folder} is no folder", err=True)
        return 2
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    finish = sort if move else tag
    arrivals = Arrivals(folder)
    with Client(url, api_key=api_key) as client:
        typer.echo(f"watching {folder}; Ctrl-C ends it", err=True)
        pause = EVERY_S
        while not stopped.wait(pause):
            files = arrivals.look()
            if files:
                report(answers(client, folder, files, finish), total=len(files), as_json=as_json)
            pause = AGAIN_S if any(map(_is_open, files)) else EVERY_S
    return 0


class Arrivals:
    """The photos that are complete and have no answer yet."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: dict[Path, tuple[int, int]] = {}

    def look(self) -> list[Path]:
        """Those that are as they were at the last look."""
        now = {file: state for file in self._open() if (state := _state(file))}
        ready = [file for file, state in now.items() if self._seen.get(file) == state]
        self._seen = now
        return ready

    def _open(self) -> Iterable[Path]:
        for file in images_in(self._folder):
            is_sorted = file.relative_to(self._folder).parts[0] in SORTED
            if not is_sorted and _is_open(file):
                yield file


Finish = Callable[[Path, Path, dict[str, Any]], None]


def answers(
    client: Client, folder: Path, files: list[Path], finish: Finish
) -> Iterable[dict[str, Any]]:
    """Each file's answer, once it is tagged or sorted. What says nothing about the photo is told,
    and the photo is tried again at the next look."""
    for photo, found in client.predict_many(files, explain=True):
        file = Path(str(photo))
        answer = _answer(found)
        try:
            if _is_final(found):
                finish(folder, file, answer)
        except OSError as error:
            answer = {"error": {"code": "unwritable_folder", "message": str(error)}}
        yield {"file": str(file), **answer}


def tag(_folder: Path, file: Path, answer: dict[str, Any]) -> None:
    """Whole or not at all."""
    draft = file.with_name(f".{file.name}{TAG}.part")
    draft.write_text(json.dumps(answer, indent=1) + "\n")
    draft.replace(_tag_of(file))


def sort(folder: Path, file: Path, answer: dict[str, Any]) -> None:
    """Never over another photo: one of the same name gets a number."""
    name = file.relative_to(folder)
    place = folder / answer.get("pred", "refused") / name
    place.parent.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        try:
            place.touch(exist_ok=False)
            break
        except FileExistsError:
            number += 1
            place = place.with_name(f"{name.stem}-{number}{name.suffix}")
    file.replace(place)


def _tag_of(file: Path) -> Path:
    return file.with_name(file.name + TAG)


def _is_open(file: Path) -> bool:
    return file.exists() and not _tag_of(file).exists()


def _state(file: Path) -> tuple[int, int] | None:
    try:
        status = file.stat()
    except OSError:  # gone again
        return None
    return status.st_size, status.st_mtime_ns


def _answer(found: Inspection | ScratchError | OSError) -> dict[str, Any]:
    if isinstance(found, Inspection):
        return asdict(found)
    code = found.code if isinstance(found, ScratchError) else "unreadable_file"
    return {"error": {"code": code, "message": str(found)}}


def _is_final(found: Inspection | ScratchError | OSError) -> bool:
    """Whether asking again could change it."""
    if isinstance(found, Refused):
        status = found.status or 422
        return status < 500 and status not in _NOT_THE_PHOTO
    return isinstance(found, Inspection)
