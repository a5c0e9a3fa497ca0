"""`scratch import`: what the command line hands over to `training`."""

from __future__ import annotations

from pathlib import Path

import typer

from shared.errors import CheckpointError


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
