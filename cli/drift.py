"""`scratch drift`: what the workers last saw."""

from __future__ import annotations

import json

import typer

from cli.models import open_redis
from shared.drift import DriftStore, advise
from shared.settings import Settings


def show(settings: Settings, *, as_json: bool) -> int:
    """What each worker's latest window showed, and whether to retrain."""
    reports = DriftStore(open_redis(settings)).read()
    advice = advise(reports)
    if as_json:
        found = [report.model_dump() for report in reports]
        typer.echo(json.dumps({"retrain": advice.retrain, "why": advice.why, "workers": found}))
        return 0
    for report in reports:
        typer.echo(str(report))
    if not reports:
        typer.echo("no worker has closed a window yet")
    typer.echo(f"retrain: {'yes' if advice.retrain else 'no'}, {advice.why}")
    return 0
