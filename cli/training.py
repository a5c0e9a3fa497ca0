"""`scratch import` and `scratch limits`: what the command line hands over to `training`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from shared.errors import CheckpointError, ServiceError
from shared.images import images_in
from shared.model.inspector import open_inspector

if TYPE_CHECKING:
    from training.limits import Limits


def import_original(file: Path, *, backbone: str, out: Path, name: str) -> int:
    """Returns the exit code: 2 if the file, the backbone or the name does not fit."""
    from training.original import import_original as run

    typer.echo(f"importing {file}: this takes a minute or two for MobileCLIP-S1", err=True)
    try:
        folder = run(file, backbone, out, name)
    except CheckpointError as error:
        typer.echo(f"scratch: {error.message}", err=True)
        return 2
    typer.echo(f"{folder} answers on torch and OpenVINO; serve it with SCRATCH_CKPT={folder}")
    return 0


def limits(ckpt: Path, clean: Path, *, trials: int, as_json: bool) -> int:
    """Returns the exit code: 2 where checkpoint or photos do not allow an answer."""
    from training.limits import decide_by, measure
    from training.params import LimitsParams

    try:
        inspector = open_inspector(ckpt)
        found = measure(images_in(clean), decide_by(inspector), LimitsParams(trials=trials))
    except (ServiceError, OSError, ValueError) as error:
        typer.echo(f"scratch: {getattr(error, 'message', error)}", err=True)
        return 2
    title = inspector.manifest.title
    if as_json:
        typer.echo(json.dumps({"model": title} | found.summary()))
    else:
        typer.echo(f"{title} on {clean}")
        typer.echo("\n".join(_sentences(found)))
    return 0


def _sentences(found: Limits) -> list[str]:
    params = found.params
    lines = [
        f"false alarms: {found.false_alarms} of {found.photos} clean photos",
        f"found {params.recall:.0%} of the time, with {params.confidence:.0%} confidence, when "
        f"{params.length:.0%} of the shorter side long and at least this wide "
        f"({found.levels[0].trials} scratches of each kind):",
    ]
    for contrast in params.contrasts:
        level = found.smallest(contrast)
        lines.append(
            f"  contrast {contrast:.2f}: {_size(level.width, found)}"
            if level
            else f"  contrast {contrast:.2f}: wider than all that was tried, "
            f"{_size(max(params.widths), found)}"
        )
    lines.append("found, by width and contrast:")
    lines.append("  " + " " * 38 + "".join(f"{contrast:8.2f}" for contrast in params.contrasts))
    for width in params.widths:
        row = [level.recall for level in found.levels if level.width == width]
        lines.append(f"  {_size(width, found):38}" + "".join(f"{recall:8.0%}" for recall in row))
    return lines


def _size(width: float, found: Limits) -> str:
    return f"1/{1 / width:.0f} of the diagonal, {width * found.diagonal:.1f} px"
