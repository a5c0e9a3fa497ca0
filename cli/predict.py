"""`scratch predict`: the worker's model and batcher in this process, without a queue."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import typer

from cli.output import image_files, report, unreadable
from shared.contract import Failure
from shared.errors import CheckpointError, ServiceError
from shared.model.inspector import Inspector, open_inspector
from shared.model.preprocess import ImageLimits
from shared.settings import Settings
from worker.batcher import Batcher

#: threads that read and decode while another infers
_THREADS = 4


def predict(paths: list[Path], settings: Settings, *, ckpt: Path | None, as_json: bool) -> int:
    """Returns the exit code: 1 if a file was refused, 2 if the checkpoint was."""
    try:
        inspector = open_inspector(
            ckpt or settings.ckpt,
            runtime=settings.runtime,
            precision=settings.precision,
            threads=settings.threads,
            limits=ImageLimits(settings.image_max_pixels, settings.image_max_side),
        )
    except CheckpointError as error:
        typer.echo(f"scratch: {error.message}", err=True)
        return 2
    files = image_files(paths)
    answers = _answers(files, inspector, max_batch=settings.max_batch)
    return report(answers, total=len(files), as_json=as_json)


def _answers(
    files: list[Path], inspector: Inspector, *, max_batch: int
) -> Iterator[dict[str, Any]]:
    batcher = Batcher(inspector.forward, max_batch=max_batch)
    batcher.start()
    try:
        with ThreadPoolExecutor(_THREADS) as pool:
            yield from pool.map(lambda file: _answer(file, inspector, batcher), files)
    finally:
        batcher.close()


def _answer(file: Path, inspector: Inspector, batcher: Batcher) -> dict[str, Any]:
    try:
        views = inspector.preprocess(file.read_bytes())
        answer = batcher.submit(views, deadline_at=math.inf).result()
        return {"file": str(file), **vars(inspector.postprocess(answer.logits))}
    except OSError as error:
        return unreadable(file, error)
    except ServiceError as error:
        return {"file": str(file), "error": Failure.of(error).encode()}
