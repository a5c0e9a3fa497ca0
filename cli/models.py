"""`scratch promote` and `scratch models`: which checkpoint serves, and who has changed over."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from dataclasses import dataclass

import typer
from redis import Redis
from redis.exceptions import RedisError

from cli.stack import embedded_redis_url
from shared.errors import BadMessage, CheckpointError, HistoryUnavailable
from shared.model.inspector import open_inspector
from shared.model.manifest import MANIFEST
from shared.records import WORKER_MISSED_S, WORKER_SILENT_S, Heartbeat
from shared.rollout import Rollout, RolloutStore
from shared.settings import Settings
from shared.trials import TrialStore
from shared.worklist import Worklist

#: seconds until a Redis that accepts but never answers counts as away
_REDIS_TIMEOUT_S = 5
_POLL_S = 0.2
#: how a worker's own SCRATCH_CKPT is called where no champion was promoted
_OWN = "each worker's own SCRATCH_CKPT"


class Refused(Exception):
    """Why nothing was changed, for people."""


@dataclass(frozen=True)
class Fleet:
    """What an operator sees of the workers."""

    rollouts: RolloutStore
    trials: TrialStore
    worklist: Worklist

    def workers(self, *, silent_s: float = WORKER_SILENT_S) -> list[Heartbeat]:
        """Those that were heard within `silent_s`, by name."""
        found = self.worklist.ready_workers(silent_s=silent_s)
        return sorted(found, key=lambda worker: worker.name)


def open_redis(settings: Settings) -> Redis:
    """On REDIS_URL, or else on the Redis of `scratch serve` in this folder."""
    url = settings.redis_url
    if "redis_url" not in settings.model_fields_set:
        url = embedded_redis_url(settings.data_dir) or url
    return Redis.from_url(
        url, socket_timeout=_REDIS_TIMEOUT_S, socket_connect_timeout=_REDIS_TIMEOUT_S
    )


def open_fleet(settings: Settings) -> Fleet:
    redis = open_redis(settings)
    worklist = Worklist(redis, record_ttl_s=settings.record_ttl_s)
    return Fleet(RolloutStore(redis), TrialStore(redis), worklist)


def refusing(command: Callable[[], int]) -> int:
    """The exit code of `command`; 2 and one sentence when it is refused or Redis is away."""
    try:
        return command()
    except (Refused, BadMessage, HistoryUnavailable) as problem:
        typer.echo(f"scratch: {problem}", err=True)
    except RedisError as error:
        typer.echo(f"scratch: Redis does not answer: {error}", err=True)
    return 2


def proven_title(name: str, settings: Settings) -> str:
    """The title of a checkpoint that works on this machine. Raises Refused."""
    folder = settings.ckpts / name
    try:
        inspector = open_inspector(
            folder,
            runtime=settings.runtime,
            precision=settings.precision,
            threads=settings.threads,
        )
    except CheckpointError as error:
        raise Refused(error.message) from None
    manifest = inspector.manifest
    if manifest.name != name:
        raise Refused(f"{folder} holds a checkpoint named {manifest.name}; its folder must be, too")
    return manifest.title


def promote(name: str, settings: Settings, *, wait_s: float) -> int:
    """Returns the exit code: 1 if a worker did not change over in time."""
    title = proven_title(name, settings)
    fleet = open_fleet(settings)
    before = fleet.rollouts.read().champion
    rollout = fleet.rollouts.change(lambda rollout: rollout.promoted(title))
    typer.echo(f"champion: {title}" + (f" (was {before or _OWN})" if before != title else ""))
    _mark(title, settings)
    if settings.history_days:
        typer.echo(f"what it would have answered otherwise: scratch recall --model {name}")
    return follow(fleet, rollout, wait_s)


def roll_back(settings: Settings, *, wait_s: float) -> int:
    """To the champion before this one. Returns the exit code, as `promote`."""
    fleet = open_fleet(settings)
    history = fleet.rollouts.read().history
    former = history[-1] if history else None
    if former and proven_title(former.split("@")[0], settings) != former:
        raise Refused(f"{former} is no longer in {settings.ckpts}: another took its name")
    try:
        rollout = fleet.rollouts.change(lambda rollout: rollout.rolled_back())
    except ValueError as error:
        raise Refused(str(error)) from None
    typer.echo(f"champion: {rollout.champion or _OWN}")
    if rollout.champion:
        _mark(rollout.champion, settings)
    return follow(fleet, rollout, wait_s)


def _mark(title: str, settings: Settings) -> None:
    """Moves MLflow's alias along, where training records its runs; a warning when it cannot."""
    recorded = settings.mlflow_tracking_uri or (settings.data_dir / "mlflow.db").exists()
    if recorded and importlib.util.find_spec("mlflow"):
        from training import tracking

        name, _, revision = title.partition("@")
        tracking.set_champion(name, revision)


def follow(fleet: Fleet, rollout: Rollout, wait_s: float) -> int:
    """Says of each worker when it follows; the exit code: 1 if one does not, in `wait_s`.

    One that has fallen silent is waited for, too: a busy machine may delay a heartbeat.
    """
    give_up_at = time.monotonic() + wait_s
    settled: set[str] = set()
    while wait_s:
        workers = fleet.workers(silent_s=WORKER_MISSED_S)
        for worker in workers:
            if worker.name not in settled and worker.rollout >= rollout.number:
                settled.add(worker.name)
                typer.echo(_line(worker))
        if settled >= {w.name for w in workers} or time.monotonic() > give_up_at:
            return _conclude(workers, rollout)
        time.sleep(_POLL_S)
    return 0


def _conclude(workers: list[Heartbeat], rollout: Rollout) -> int:
    if not workers:
        typer.echo("no worker is running; the next one starts with it")
    late = [worker for worker in workers if worker.rollout < rollout.number]
    for worker in late:
        typer.echo(_line(worker))
    return 1 if late or any(worker.behind for worker in workers) else 0


def show(settings: Settings) -> int:
    """What should serve, what each worker serves, and what could be promoted."""
    fleet = open_fleet(settings)
    rollout = fleet.rollouts.read()
    typer.echo(f"champion:   {rollout.champion or _OWN}")
    if rollout.trial:
        kind = "in the shadow" if rollout.trial.shadow else f"for {rollout.trial.share:.0%}"
        typer.echo(f"challenger: {rollout.trial.challenger} {kind}")
    if rollout.history:
        typer.echo(f"before:     {', '.join(title or _OWN for title in reversed(rollout.history))}")
    names = sorted(path.parent.name for path in settings.ckpts.glob(f"*/{MANIFEST}"))
    typer.echo(f"in {settings.ckpts}:  {', '.join(names) or 'nothing'}")
    workers = fleet.workers()
    for worker in workers:
        typer.echo(_line(worker))
    if not workers:
        typer.echo("no worker is running")
    return 0


def _line(worker: Heartbeat) -> str:
    beside = f", beside it {worker.challenger}" if worker.challenger else ""
    behind = f"; behind: {worker.behind}" if worker.behind else ""
    return f"{worker.name}: serves {worker.model}{beside}{behind}"
