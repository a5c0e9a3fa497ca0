"""`scratch train`: a folder of photos to a checkpoint, and a verdict in plain words."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from shared.errors import CheckpointError
from shared.settings import Settings

if TYPE_CHECKING:
    from training.params import Params
    from training.workspace import Workspace


def train(
    folder: Path, settings: Settings, *, name: str | None, out: Path, params_file: Path
) -> int:
    """Returns the exit code: 1 when nothing could be learned, 2 when it cannot even begin."""
    try:
        from training.build import BUNDLED, build, named
        from training.dataset import DataError
        from training.params import load_params
        from training.workspace import Workspace, listen
    except ImportError as error:
        return _refuse(f"training is not installed here ({error}); `make train` sets it up", 2)
    listen(logging.WARNING)
    name = name or _name_of(folder)
    try:
        params = named(load_params(params_file), name)
    except OSError as error:
        return _refuse(f"{params_file}: {error.strerror}", 2)
    except ValueError as error:
        return _refuse(f"{params_file}, checkpoint {name}: {error}", 2)
    if (out / name).resolve() == BUNDLED.resolve():
        return _refuse(f"{BUNDLED} is the bundled checkpoint; choose another name", 2)
    work = Workspace(
        settings.data_dir / "training" / name, cache=settings.data_dir / "cache", images=folder
    )
    work.root.mkdir(parents=True, exist_ok=True)
    try:
        verdict = build(params, work, out, folder, base=BUNDLED, cross_validate=True)
    except (DataError, OSError) as error:
        return _refuse(str(error), 1)
    except CheckpointError as error:
        return _refuse(error.message, 1)
    typer.echo(f"\n{verdict}")
    _record(verdict.checkpoint, params, work)
    return 0


def _record(checkpoint: Path, params: Params, work: Workspace) -> None:
    from training import tracking  # mlflow takes seconds: the verdict comes first

    if version := tracking.log_run(checkpoint, params, work):
        typer.echo(f"MLflow: version {version} of {tracking.NAME}, challenger; see `make mlflow`")


def show_runs(settings: Settings, port: int) -> int:
    """MLflow's own page over the local store; returns the exit code."""
    if settings.mlflow_tracking_uri.startswith("http"):
        typer.echo(f"runs are recorded at {settings.mlflow_tracking_uri}: open that")
        return 0
    from training.tracking import tracking_uri

    typer.echo(f"http://127.0.0.1:{port}; Ctrl-C stops it")
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--workers", "1", "--backend-store-uri", tracking_uri()]
    command += ["--default-artifact-root", (settings.data_dir.resolve() / "mlflow").as_uri()]
    try:
        return subprocess.run(command).returncode
    except KeyboardInterrupt:
        return 0


def _name_of(folder: Path) -> str:
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", folder.resolve().name).strip("-._")
    return name[:64] or "own"


def _refuse(reason: str, code: int) -> int:
    typer.echo(f"scratch: {reason}", err=True)
    return code
