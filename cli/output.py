"""What `scratch predict` and `scratch submit` print: one line a file, for people or as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import Progress

from shared.images import images_in


def image_files(paths: Iterable[Path]) -> list[Path]:
    """The files themselves, whatever their names, and the images in folders."""
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            files += images_in(path)
        else:
            files.append(path)
    return files


def report(answers: Iterable[dict[str, Any]], *, total: int, as_json: bool) -> int:
    """Prints answers as they come, with a progress bar on a terminal; the exit code."""
    if not total:
        typer.echo("scratch: no images there", err=True)
        return 1
    refused = 0
    console = Console(stderr=True)
    bar = Progress(
        console=console,
        disable=not console.is_terminal,
        redirect_stdout=sys.stdout.isatty(),  # a pipe or a file must get every line itself
    )
    with bar:
        for answer in bar.track(answers, total=total):
            refused += "error" in answer
            typer.echo(json.dumps(answer) if as_json else _line(answer))
    return 1 if refused else 0


def unreadable(file: Path, error: OSError) -> dict[str, Any]:
    """The answer for a file that is not there or not ours to read."""
    message = f"The file cannot be read: {error.strerror}."
    return {"file": str(file), "error": {"code": "unreadable_file", "message": message}}


def _line(answer: dict[str, Any]) -> str:
    # Names come from outside: a control character must not reach the terminal.
    file = "".join(c if c.isprintable() else "?" for c in answer["file"])
    if "error" in answer:
        return f"{'error':<12}  {'':5}  {file}: {answer['error']['message']}"
    return f"{answer['pred']:<12}  {answer['prob_scratches']:.3f}  {file}"
