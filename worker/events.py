"""Celery's event dispatcher, made safe for a pool of threads, and told to say less.

Celery's own `flush` publishes a buffer and then empties it: what other threads added meanwhile is
gone, and Flower shows finished tasks as received (a fifth of them under load). And three events a
task cost the worker and Flower more than the inspection's own bookkeeping. So events of tasks wait
up to half a second (two, when nothing follows); a task that ended by then is told by one event,
which carries what the earlier ones would have said. A task that takes longer is told as ever.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from celery.app.events import Events
from celery.events import EventDispatcher

Event = dict[str, Any]

_GATHER_S = 0.5
#: events that may wait; more are published at once
_BUFFER = 1000
_BEFORE = {"task-received": "received", "task-started": "started"}
_ENDS = {"task-succeeded", "task-failed"}


class ThreadSafeDispatcher(EventDispatcher):  # type: ignore[misc]  # Celery has no types
    on_send_buffered: Callable[[], None] | None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **{"buffer_limit": _BUFFER, **options})
        self._flushed_at = 0.0
        self._flush_soon: Callable[[], None] | None = self.on_send_buffered
        self.on_send_buffered = self._when_due

    def _when_due(self) -> None:
        if self._flush_soon and time.monotonic() - self._flushed_at >= _GATHER_S:
            self._flush_soon()

    def publish(self, *arguments: Any, **options: Any) -> Any:
        """What is published at once, such as the heartbeat, takes along what waits."""
        self.flush(errors=False)
        return super().publish(*arguments, **options)

    def flush(self, errors: bool = True, groups: bool = True) -> None:
        super().flush(errors=errors, groups=False)
        if not groups:
            return
        self._flushed_at = time.monotonic()
        with self.mutex:
            for group, events in self._group_buffer.items():
                batch = list(events)
                if batch:
                    self._publish(told_once(batch), self.producer, f"{group}.multi")
                    del events[: len(batch)]  # and not what came while these went out


def told_once(events: Iterable[Event]) -> list[Event]:
    """A task's end takes the place of its own `received` and `started`, as their fields and times.

    That is how `celery.events.state.Task`, and so Flower, would have put them together.
    """
    told: list[Event] = []
    earlier: dict[str, list[Event]] = {}
    for event in events:
        before = earlier.get(event.get("uuid", ""))
        if event["type"] == "task-received":
            earlier[event["uuid"]] = [event]
        elif before and event["type"] == "task-started":
            before.append(event)
        elif before and event["type"] in _ENDS:
            del earlier[event["uuid"]]
            times = {_BEFORE[e["type"]]: e["timestamp"] for e in before}
            told.append({**{k: v for e in before for k, v in e.items()}, **times, **event})
        else:
            told.append(event)
    return [event for before in earlier.values() for event in before] + told


class ThreadSafeEvents(Events):  # type: ignore[misc]
    dispatcher_cls = ThreadSafeDispatcher
