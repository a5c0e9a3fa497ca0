"""`scratch predict`: the worker's model and batcher in this process, without a queue."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import typer

from cli.output import image_files, report, unreadable
from cli.overlays import Overlays
from shared.contract import Failure
from shared.errors import CheckpointError, ServiceError, UploadTooLarge
from shared.model.inspector import Inspector, open_inspector
from shared.model.preprocess import ImageLimits
from shared.settings import Settings
from worker.batcher import Batcher

#: threads that read and decode while others infer
_DECODING = 4


def predict(
    paths: list[Path],
    settings: Settings,
    *,
    ckpt: Path | None,
    as_json: bool,
    explain: Path | None = None,
) -> int:
    """Returns the exit code: 1 if a file was refused, 2 if the checkpoint was.

    With `explain`, that folder gets each photo with the evidence drawn over it.
    """
    limits = ImageLimits(settings.image_max_pixels, settings.image_max_side)
    try:
        inspector = open_inspector(
            ckpt or settings.ckpt,
            runtime=settings.runtime,
            precision=settings.precision,
            threads=settings.threads,
            streams=settings.streams,
            limits=limits,
        )
    except CheckpointError as error:
        typer.echo(f"scratch: {error.message}", err=True)
        return 2
    files = image_files(paths)
    overlays = Overlays(explain, files, limits) if explain else None
    answers = _answers(files, inspector, overlays, settings)
    return report(answers, total=len(files), as_json=as_json)


def _answers(
    files: list[Path], inspector: Inspector, overlays: Overlays | None, settings: Settings
) -> Iterator[dict[str, Any]]:
    runtime = inspector.runtime
    batcher = Batcher(max_batch=settings.max_batch or runtime.batch, passes=runtime.passes)
    try:
        with ThreadPoolExecutor(_DECODING + runtime.passes) as pool:
            yield from pool.map(
                lambda file: _answer(file, inspector, batcher, overlays, settings.upload_max_bytes),
                files,
            )
    finally:
        batcher.close()


def _answer(
    file: Path, inspector: Inspector, batcher: Batcher, overlays: Overlays | None, max_bytes: int
) -> dict[str, Any]:
    try:
        if file.stat().st_size > max_bytes:
            raise UploadTooLarge(f"The file has more than {max_bytes} bytes.")
        data = file.read_bytes()
        views = inspector.preprocess(data)
        forward = inspector.trace if overlays else inspector.embed
        answer = batcher.infer(views, forward, deadline_at=math.inf)
        verdict = inspector.postprocess(answer.logits)
        ruling = inspector.rule(verdict, inspector.place(answer.features))
        found = {"file": str(file), **vars(verdict), **vars(ruling)}
        heatmap = inspector.locate(answer.trace) if answer.trace else None
        if overlays and heatmap:
            found |= {
                "hottest": heatmap.hottest,
                "overlay": str(overlays.write(file, data, heatmap)),
            }
        return found
    except OSError as error:
        return unreadable(file, error)
    except ServiceError as error:
        return {"file": str(file), "error": Failure.of(error).encode()}
