"""`scratch retrain`: data to candidate to verdict, as the auto-retraining workflow runs it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import typer

from cli.models import Refused, open_redis
from shared.drift import DriftStore, advise
from shared.errors import ServiceError
from shared.model.inspector import Inspector, open_inspector
from shared.model.labels import LABELS
from shared.settings import Settings

if TYPE_CHECKING:
    from training.compare import Comparison

_PIPELINE = Path("dvc.yaml")
_MARKDOWN, _JSON = "retrain.md", "retrain.json"


def retrain(settings: Settings, *, data: Path | None, pull: bool, report: Path) -> int:
    """Returns the exit code: 0 whatever the verdict, which is in `report`; 2 if there is none."""
    try:
        with TemporaryDirectory() as kept:
            # The pipeline may write the candidate into the champion's own folder.
            before = shutil.copytree(settings.ckpt, Path(kept) / settings.ckpt.name)
            champion = _as_served(before, settings)
            if pull:
                _dvc("pull")
            found = _compare(champion, settings, data)
    except (Refused, ServiceError, ValueError, OSError) as problem:
        typer.echo(f"scratch: {problem}", err=True)
        return 2
    _write(found, report)
    return 0


def retrain_if_drifted(settings: Settings, train: Callable[[], int]) -> int:
    """Trains where the workers' reports call for it, and says why or why not. Raises RedisError."""
    advice = advise(DriftStore(open_redis(settings)).read())
    typer.echo(f"{'retraining' if advice.retrain else 'not retraining'}: {advice.why}")
    return train() if advice.retrain else 0


def _as_served(folder: Path, settings: Settings) -> Inspector:
    return open_inspector(folder, runtime=settings.runtime, precision=settings.precision)


def _compare(champion: Inspector, settings: Settings, data: Path | None) -> Comparison:
    from training.build import build
    from training.compare import compare, test_split
    from training.params import load_params
    from training.workspace import Workspace, stage_parser

    defaults = stage_parser(None).parse_args([])
    params, work = load_params(defaults.params), Workspace(defaults.work)
    if data is None and _PIPELINE.exists():
        _dvc("repro")
    else:
        work.root.mkdir(parents=True, exist_ok=True)
        build(params, work, settings.ckpts, data)
    candidate = _as_served(settings.ckpts / params.export.name, settings)
    files, labels = test_split(work.index)
    if len(set(labels)) < len(LABELS):
        raise Refused("the test split lacks a class: there is nothing to compare on")
    return compare(champion, candidate, files, labels)


def _dvc(verb: str) -> None:
    """Raises Refused."""
    done = subprocess.run([sys.executable, "-m", "dvc", verb], check=False)
    if done.returncode:
        raise Refused(f"dvc {verb} failed with {done.returncode}")


def _write(found: Comparison, report: Path) -> None:
    from training.compare import as_markdown

    report.mkdir(parents=True, exist_ok=True)
    (report / _MARKDOWN).write_text(as_markdown(found))
    (report / _JSON).write_text(found.model_dump_json(indent=1) + "\n")
    typer.echo(f"{found.decision}: {found.candidate} against {found.champion}")
    typer.echo(f"see {report / _MARKDOWN} and {report / _JSON}")
