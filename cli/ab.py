"""`scratch ab`: a challenger beside the champion, and what has become of it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import typer

from cli.dataset import open_history
from cli.models import Refused, follow, open_fleet, proven_title
from shared.comparison import ALPHA, Pairs, labelled_pairs
from shared.contract import Label
from shared.history.store import Word
from shared.rollout import Rollout, Trial
from shared.settings import Settings
from shared.trials import Ballot, Finding, Record


def start(name: str, settings: Settings, *, share: float, shadow: bool, wait_s: float) -> int:
    """Returns the exit code: 1 if a worker does not take part in time."""
    title = proven_title(name, settings)
    trial = Trial(challenger=title, share=0 if shadow else share, shadow=shadow)

    def edit(rollout: Rollout) -> Rollout:
        if title == rollout.champion:
            raise Refused(f"{title} is the champion already")
        return rollout.trying(trial)

    fleet = open_fleet(settings)
    rollout = fleet.rollouts.change(edit)
    kind = "judges all images in the shadow" if shadow else f"answers {share:.0%} of the clients"
    typer.echo(f"trial {trial.id}: {title} {kind}")
    return follow(fleet, rollout, wait_s)


def stop(settings: Settings, *, wait_s: float) -> int:
    """The champion goes on alone; the ballots stay for `scratch ab report --trial`."""
    fleet = open_fleet(settings)
    trial = fleet.rollouts.read().trial
    if trial is None:
        raise Refused("no trial is running")
    rollout = fleet.rollouts.change(lambda rollout: rollout.trying(None))
    typer.echo(f"trial {trial.id} has ended; `scratch ab report --trial {trial.id}` still knows it")
    return follow(fleet, rollout, wait_s)


def label(task_id: str, said: Label, settings: Settings) -> int:
    """As feedback: kept for good where the history is, and told to the trial."""
    fleet = open_fleet(settings)
    with open_history(settings) as store:
        answer = store.find(task_id) or fleet.worklist.answer(task_id)
        about = Word.about(answer) if answer else {}
        store.say(Word(task_id=task_id, label=said, at=time.time(), source="cli", **about))
    fleet.trials.label(task_id, said)
    trial = fleet.rollouts.read().trial
    if trial and task_id not in fleet.trials.read(trial.id).ballots:
        typer.echo(f"noted; trial {trial.id} has not seen this task")
    return 0


def report(settings: Settings, *, trial_id: str | None, as_json: bool) -> int:
    fleet = open_fleet(settings)
    rollout = fleet.rollouts.read()
    if trial_id is None:
        if rollout.trial is None:
            raise Refused("no trial is running; name a former one by --trial")
        trial_id = rollout.trial.id
    record = fleet.trials.read(trial_id)
    if as_json:
        typer.echo(json.dumps(_as_json(trial_id, record)))
        return 0
    typer.echo(_heading(trial_id, rollout))
    for line in _lines(record):
        typer.echo(line)
    return 0


def _heading(trial_id: str, rollout: Rollout) -> str:
    trial = rollout.trial
    if trial is None or trial.id != trial_id:
        return f"trial {trial_id}, which has ended"
    since = datetime.fromtimestamp(trial.started_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    champion = rollout.champion or "SCRATCH_CKPT"
    kind = "shadow" if trial.shadow else f"{trial.share:.0%} of the clients"
    return f"trial {trial_id}: {trial.challenger} against {champion}, {kind}, since {since}"


@dataclass(frozen=True)
class Side:
    """What one of the two said."""

    images: int
    #: share of `scratches`
    positive: float | None
    #: milliseconds of decoding and forward pass; None where it cost no pass of its own
    median_ms: float | None
    p95_ms: float | None
    labelled: int
    right: int


def _side(ballots: Iterable[tuple[Finding, Label | None]]) -> Side:
    found = list(ballots)
    ms = [finding.ms for finding, _ in found if finding.ms is not None]
    said = [finding.pred == label for finding, label in found if label]
    return Side(
        images=len(found),
        positive=float(np.mean([f.pred == "scratches" for f, _ in found])) if found else None,
        median_ms=float(np.median(ms)) if ms else None,
        p95_ms=float(np.percentile(ms, 95)) if ms else None,
        labelled=len(said),
        right=sum(said),
    )


def _sides(record: Record) -> dict[str, Side]:
    def of(arm: str) -> Iterable[tuple[Finding, Label | None]]:
        for ballot in record.ballots.values():
            finding = getattr(ballot, arm)
            if finding:
                yield finding, record.labels.get(ballot.task_id)

    return {arm: _side(of(arm)) for arm in ("champion", "challenger")}


def _agreement(ballots: Iterable[Ballot]) -> tuple[int, int]:
    """Images judged by both, and those on which they agree."""
    both = [(b.champion.pred, b.challenger.pred) for b in ballots if b.champion and b.challenger]
    return len(both), sum(one == other for one, other in both)


def _lines(record: Record) -> Iterable[str]:
    for arm, side in _sides(record).items():
        positive = "" if side.positive is None else f", {side.positive:.1%} scratches"
        cost = (
            ""
            if side.median_ms is None
            else f", {side.median_ms:.1f} ms (95 % within {side.p95_ms:.1f})"
        )
        right = f", right on {side.right} of {side.labelled} labelled" if side.labelled else ""
        yield f"{arm:<11} {side.images} images{positive}{cost}{right}"
    both, agree = _agreement(record.ballots.values())
    if both:
        yield f"agreement   {agree / both:.1%} of {both} images judged by both"
    for what, number in sorted(record.counts.items()):
        yield f"{what:<11} {number}"
    yield from conclusion(labelled_pairs(record))


def conclusion(pairs: Pairs) -> Iterable[str]:
    yield (
        f"pairs       {pairs.count} labelled: champion alone right {pairs.champion_only}, "
        f"challenger alone right {pairs.challenger_only}"
    )
    yield (
        f"evidence    McNemar's exact p {pairs.p_value:.3g}, for one look; "
        f"odds {pairs.odds:.3g} of the {1 / ALPHA:.0f} that decide, at any look"
    )
    yield f"verdict     {pairs.decision}"


def _as_json(trial_id: str, record: Record) -> dict[str, Any]:
    pairs = labelled_pairs(record)
    both, agree = _agreement(record.ballots.values())
    return {
        "trial": trial_id,
        **{arm: vars(side) for arm, side in _sides(record).items()},
        "judged_by_both": both,
        "agree": agree,
        "counts": record.counts,
        "pairs": vars(pairs),
        "p_value": pairs.p_value,
        "odds": pairs.odds,
        "decision": pairs.decision,
    }
