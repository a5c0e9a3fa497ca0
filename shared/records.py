"""What we keep in Redis beside Celery's own keys: uploads, task records, open tasks, workers.

scratch:upload:{id}   the image's bytes, until its result is stored
scratch:heatmap:{id}  PNG of where the evidence lies, where that was asked for
scratch:once:{hash}   of an idempotency key, the id and sha256 of what was accepted under it
scratch:task:{id}     hash, the record that an accepted id is known; its job, to send it again;
                      `ear`, the channel of the api process that waits for its answer
scratch:open          sorted set of accepted, unfinished ids by their deadlines
scratch:sent          the same ids by the time they were last sent
scratch:claimed       when the copy that was last taken up had been sent
scratch:sweeper       the worker that sweeps, for as long as it says so
scratch:retention     the worker that removes what the history no longer keeps, likewise
scratch:callback…     of uploads with a `callback_url`: see `shared/outbox.py`
scratch:link…         of links in mails: see `shared/links.py`
scratch:workers       hash, worker name -> Heartbeat
celery-task-meta-{id} Celery's result: the first answer, which nothing overwrites
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from shared.contract import Failure, Outcome, TaskStatus
from shared.errors import BadMessage, InternalError, TaskCancelled

OPEN_KEY = "scratch:open"
SENT_KEY = "scratch:sent"
CLAIMED_KEY = "scratch:claimed"
SWEEPER_KEY = "scratch:sweeper"
RETENTION_KEY = "scratch:retention"
WORKERS_KEY = "scratch:workers"
#: Celery's key and also its pub/sub channel
RESULT_PREFIX = "celery-task-meta-"
#: seconds after which a silent worker no longer counts as ready; it beats every two
WORKER_SILENT_S = 4.5
#: seconds for which whoever waits for all workers waits for a silent one, too
WORKER_MISSED_S = 30
#: seconds after which a silent worker is forgotten
WORKER_FORGOTTEN_S = 3600


def upload_key(task_id: str) -> str:
    return f"scratch:upload:{task_id}"


def heatmap_key(task_id: str) -> str:
    return f"scratch:heatmap:{task_id}"


def once_key(once: str) -> str:
    return f"scratch:once:{once}"


def task_key(task_id: str) -> str:
    return f"scratch:task:{task_id}"


def result_key(task_id: str) -> str:
    return RESULT_PREFIX + task_id


def final_meta(outcome: Outcome) -> str:
    """An outcome as Celery stores and publishes it."""
    return json.dumps(
        {
            "status": "SUCCESS",
            "result": outcome.encode(),
            "traceback": None,
            "children": [],
            "date_done": datetime.now(UTC).isoformat(),
            "task_id": outcome.id,
        }
    )


#: Ends a task: keeps and publishes its answer, unless another came first. Whatever comes second
#: changes nothing. Returns whether this one was the first, also to who sends it again for want of a
#: reply. One step, so that nobody hears an answer that is not kept.
#:
#: KEYS result, task, upload, open, sent; ARGV meta, seconds to keep it, id, unix time
CONCLUDE = """
local first = redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2], 'NX')
if first then
  redis.call('PUBLISH', KEYS[1], ARGV[1])
  local ear = redis.call('HGET', KEYS[2], 'ear')
  if ear then redis.call('PUBLISH', ear, ARGV[1]) end
end
redis.call('UNLINK', KEYS[3])
redis.call('ZREM', KEYS[4], ARGV[3])
redis.call('ZREM', KEYS[5], ARGV[3])
redis.call('HSET', KEYS[2], 'finished_at', ARGV[4])
redis.call('EXPIRE', KEYS[2], ARGV[2])
return (first or redis.call('GET', KEYS[1]) == ARGV[1]) and 1 or 0
"""


def conclusion(
    task_id: str, meta: bytes | str, *, ttl_s: int
) -> tuple[list[str], list[str | bytes | float]]:
    """Keys and arguments of CONCLUDE."""
    keys = [result_key(task_id), task_key(task_id), upload_key(task_id), OPEN_KEY, SENT_KEY]
    return keys, [meta, ttl_s, task_id, time.time()]


def read_result(meta: bytes | str | None) -> Outcome | Failure | None:
    """Celery's stored or published result; None while it is not final.

    An exception that Celery stored is read as data (its type and text may be anything) and becomes
    a failure with our code; it is never rebuilt.
    """
    if not meta:
        return None
    try:
        fields = dict(json.loads(meta))
    except (ValueError, TypeError):
        return Failure.of(BadMessage())
    return result_of(fields)


def result_of(fields: Mapping[str, Any]) -> Outcome | Failure | None:
    """As `read_result`, of what has been parsed."""
    match fields.get("status"):
        case "SUCCESS":
            try:
                return Outcome.decode(fields.get("result"))
            except BadMessage as error:
                return Failure.of(error)
        case "FAILURE":
            return Failure.of(InternalError())
        case "REVOKED":
            return Failure.of(TaskCancelled())
        case _:
            return None


@dataclass(frozen=True, kw_only=True)
class TaskRecord:
    """What the store knows of an accepted task. Times are unix seconds."""

    id: str
    accepted_at: float
    deadline_at: float
    started_at: float | None
    finished_at: float | None
    result: Outcome | Failure | None

    @property
    def failure(self) -> Failure | None:
        return self.result.failure if isinstance(self.result, Outcome) else self.result

    @property
    def status(self) -> TaskStatus:
        if self.result is not None:
            return self.result.status if isinstance(self.result, Outcome) else TaskStatus.FAILED
        return TaskStatus.QUEUED if self.started_at is None else TaskStatus.RUNNING


def record_of(task_id: str, fields: dict[bytes, bytes], meta: bytes | None) -> TaskRecord | None:
    if b"accepted_at" not in fields:
        return None
    result = read_result(meta)
    if result is None and b"finished_at" in fields:
        return None  # finished, and the result has expired since

    def moment(name: bytes) -> float | None:
        return float(fields[name]) if name in fields else None

    return TaskRecord(
        id=task_id,
        accepted_at=float(fields[b"accepted_at"]),
        deadline_at=float(fields[b"deadline_at"]),
        started_at=moment(b"started_at"),
        finished_at=moment(b"finished_at"),
        result=result,
    )


class Heartbeat(BaseModel):
    """A worker with a loaded and proven model, at `beat_at` by the clock of Redis."""

    model_config = ConfigDict(frozen=True)

    name: str
    model: str
    variant: str
    pid: int
    beat_at: float
    #: tasks a second while it has any; None while too few were seen
    per_s: float | None = None
    #: on trial beside `model`
    challenger: str | None = None
    #: the rollout it follows, by number, and what it lacks to follow it wholly
    rollout: int = 0
    behind: str | None = None


def heartbeat_of(data: bytes) -> Heartbeat | None:
    """None for one that a worker of another version wrote."""
    try:
        return Heartbeat.model_validate_json(data)
    except ValidationError:
        return None


def ready(
    time: tuple[int, int], beats: list[bytes], silent_s: float = WORKER_SILENT_S
) -> list[Heartbeat]:
    """Those that are not silent for so long; `time` is what Redis answers to TIME."""
    now = time[0] + time[1] / 1e6
    return [
        heartbeat
        for beat in beats
        if (heartbeat := heartbeat_of(beat)) and now - heartbeat.beat_at < silent_s
    ]
