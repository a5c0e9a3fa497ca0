"""What the two models of a trial said, and what people said since: kept in Redis, bounded.

scratch:trial:{id}         stream of Ballot, the latest BALLOTS
scratch:trial:{id}:counts  hash, what became no ballot: `failed`, `skipped`
scratch:labels             stream of task id and label, the latest LABELS_KEPT, whoever gave them;
                           an empty label takes back the one before
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from redis import Redis

from shared.contract import Label

LABELS_KEY = "scratch:labels"
#: some 300 bytes each
BALLOTS = 20_000
LABELS_KEPT = 20_000
#: seconds that a trial's ballots outlive its last one
_KEPT_S = 90 * 24 * 3600


class Finding(BaseModel):
    """What one model said of an image."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    pred: Label
    prob_scratches: float
    #: decoding and forward pass; None when it came from the champion's own pass
    ms: float | None = None


class Ballot(BaseModel):
    """One image: both findings of a shadow, one of a split."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task_id: str
    champion: Finding | None = None
    challenger: Finding | None = None


@dataclass(frozen=True)
class Record:
    """All that is known of a trial. A task that ran twice has one ballot, its last."""

    ballots: dict[str, Ballot] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    #: in the order in which they were given; the last one of a task counts
    labels: dict[str, Label] = field(default_factory=dict)


def trial_key(trial_id: str) -> str:
    return f"scratch:trial:{trial_id}"


def _counts_key(trial_id: str) -> str:
    return f"{trial_key(trial_id)}:counts"


def queue_label(pipe: Any, task_id: str, label: Label | None) -> None:
    """Queues on a pipeline, sync or async, what a person says of a task's image."""
    entry = {"task_id": task_id, "label": label or ""}
    pipe.xadd(LABELS_KEY, entry, maxlen=LABELS_KEPT, approximate=True)


class TrialStore:
    """Synchronous, for workers and the command line."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def add(self, trial_id: str, ballot: Ballot) -> None:
        key = trial_key(trial_id)
        with self._redis.pipeline(transaction=False) as pipe:
            entry: Any = {"ballot": ballot.model_dump_json()}
            pipe.xadd(key, entry, maxlen=BALLOTS, approximate=True)
            pipe.expire(key, _KEPT_S)
            pipe.execute()

    def count(self, trial_id: str, what: str, number: int = 1) -> None:
        """`failed`: the challenger gave no finding. `skipped`: there was no time to ask it."""
        key = _counts_key(trial_id)
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.hincrby(key, what, number)
            pipe.expire(key, _KEPT_S)
            pipe.execute()

    def label(self, task_id: str, label: Label | None) -> None:
        """What a person says of a task's image; the last word counts, None takes it back."""
        with self._redis.pipeline(transaction=False) as pipe:
            queue_label(pipe, task_id, label)
            pipe.execute()

    def read(self, trial_id: str) -> Record:
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.xrange(trial_key(trial_id))
            pipe.hgetall(_counts_key(trial_id))
            pipe.xrange(LABELS_KEY)
            entries, counts, labels = pipe.execute()
        ballots = [b for _, fields in entries if (b := _ballot(fields[b"ballot"]))]
        said: dict[str, Label] = {}
        for _, fields in labels:
            task_id = fields[b"task_id"].decode()
            said.pop(task_id, None)
            if label := fields[b"label"].decode():
                said[task_id] = label
        return Record(
            ballots={ballot.task_id: ballot for ballot in ballots},
            counts={name.decode(): int(count) for name, count in counts.items()},
            labels=said,
        )


def _ballot(data: bytes) -> Ballot | None:
    """None for one that a worker of another version wrote."""
    try:
        return Ballot.model_validate_json(data)
    except ValidationError:
        return None
