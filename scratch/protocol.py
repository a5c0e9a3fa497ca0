"""What is said to the service and in which order, without any waiting or sending.

Each conversation is a generator. It yields a Call, and is sent the reply or thrown httpx's error;
or it yields a Pause, and goes on after it. Both clients drive the same conversations.
"""

from __future__ import annotations

import os
import random
import time
import uuid
from collections.abc import Generator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import httpx

from scratch.answers import Feedback, Inspection, Said, inspection_of
from scratch.errors import NotTheService, Refused, ScratchError, ServiceUnreachable, TimedOut

T = TypeVar("T")
#: a path, or the bytes of an image file
Photo = str | os.PathLike[str] | bytes

#: times a busy service is asked, and one that does not answer at all
BUSY_TRIES, SILENT_TRIES = 10, 3
#: seconds that one request waits for a task's end; below every proxy's patience
LONG_POLL_S = 20.0
#: seconds for anything else; uploads over slow lines included
TIMEOUT_S = 90.0
_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 60.0


@dataclass(frozen=True)
class Call:
    method: str
    path: str
    params: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    image: bytes | None = None
    fields: dict[str, str] = field(default_factory=dict)
    json: dict[str, Any] | None = None

    def arguments(self) -> dict[str, Any]:
        """Of httpx's `request`."""
        arguments: dict[str, Any] = {"params": self.params, "headers": self.headers}
        if self.image is not None:
            # The name stays here: it says nothing about the surface.
            arguments["files"] = {"file": ("image", self.image)}
            arguments["data"] = self.fields
        if self.json is not None:
            arguments["json"] = self.json
        return arguments


@dataclass(frozen=True)
class Pause:
    seconds: float


Talk = Generator[Call | Pause, Any, T]


def submit(photo: Photo, *, explain: bool, callback_url: str | None = None) -> Talk[str]:
    """The task's id. Sent again under one idempotency key, the photo is inspected once."""
    image = photo if isinstance(photo, bytes) else Path(photo).read_bytes()
    reply = yield from _patiently(
        Call(
            "POST",
            "/upload_image",
            params={"wait": "false", "explain": str(explain).lower()},
            headers={"Idempotency-Key": uuid.uuid4().hex},
            image=image,
            fields={"callback_url": callback_url} if callback_url else {},
        )
    )
    return str(_field(reply, "task_id"))


def wait(task_id: str, *, timeout: float | None) -> Talk[Inspection]:
    """Raises Refused for a task that failed, TimedOut after `timeout` seconds."""
    give_up_at = None if timeout is None else time.monotonic() + timeout
    while True:
        left = LONG_POLL_S if give_up_at is None else give_up_at - time.monotonic()
        seconds = max(0.0, min(left, LONG_POLL_S))
        reply = yield from _patiently(
            Call("GET", f"/tasks/{task_id}", params={"wait": f"{seconds:.3f}"})
        )
        match _field(reply, "status"):
            case "done":
                return _inspection(reply)
            case "failed":
                error = _field(reply, "error")
                raise Refused(error["code"], error["message"])
        if left <= LONG_POLL_S and give_up_at is not None and time.monotonic() >= give_up_at:
            raise TimedOut(f"Task {task_id} has no answer after {timeout} s.")


def predict(photo: Photo, *, explain: bool, timeout: float | None) -> Talk[Inspection]:
    task_id = yield from submit(photo, explain=explain)
    return (yield from wait(task_id, timeout=timeout))


def heatmap(task_id: str) -> Talk[bytes]:
    reply = yield from _patiently(Call("GET", f"/tasks/{task_id}/heatmap.png"))
    return reply.content


def feedback(task_id: str, said: Said, *, note: str | None) -> Talk[Feedback]:
    """Said twice, it is said once more: the last word counts."""
    words = {"label": said, **({"note": note} if note else {})}
    reply = yield from _patiently(Call("POST", f"/tasks/{task_id}/feedback", json=words))
    names = [each.name for each in fields(Feedback)]
    return Feedback(**{name: _field(reply, name) for name in names})


def _patiently(call: Call) -> Talk[httpx.Response]:
    """A reply that is no error. Asks a busy or silent service again, as it says or ever slower."""
    busy = silent = 0
    while True:
        try:
            reply: httpx.Response = yield call
        except httpx.TransportError as trouble:
            silent += 1
            if silent >= SILENT_TRIES:
                raise ServiceUnreachable(str(trouble)) from trouble
            yield Pause(_growing_pause(silent))
            continue
        if reply.is_success:
            return reply
        busy += 1
        if reply.status_code not in (429, 503) or busy >= BUSY_TRIES:
            raise _refusal(reply)
        asked = _asked_pause(reply)
        yield Pause(_growing_pause(busy) if asked is None else asked)


def _growing_pause(attempt: int) -> float:
    """Doubles, with jitter: many clients must not come back together."""
    longest = min(_PAUSE_S * 2**attempt, _LONGEST_PAUSE_S / 4)
    return random.uniform(longest / 2, longest)  # noqa: S311 no secret


def _asked_pause(reply: httpx.Response) -> float | None:
    asked = reply.headers.get("retry-after", "")
    return min(float(asked), _LONGEST_PAUSE_S) if asked.isdecimal() else None


def _refusal(reply: httpx.Response) -> ScratchError:
    try:
        problem = reply.json()
        return Refused(
            problem["code"], problem.get("detail") or problem["title"], reply.status_code
        )
    except (ValueError, KeyError, TypeError):
        return NotTheService(f"{reply.url} answered {reply.status_code} with something else.")


def _field(reply: httpx.Response, name: str) -> Any:
    try:
        return reply.json()[name]
    except (ValueError, KeyError, TypeError):
        raise NotTheService(f"{reply.url} answered with something else.") from None


def _inspection(reply: httpx.Response) -> Inspection:
    try:
        return inspection_of(reply.json())
    except (ValueError, KeyError, TypeError):
        raise NotTheService(f"{reply.url} answered with something else.") from None
