"""The Celery app for operators' tools: `celery --app shared.monitor flower`. Loads no model."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Any

from shared.broker import celery_app
from shared.settings import get_settings

settings = get_settings()
app = celery_app(settings, results=True)
if auth := settings.flower_auth.get_secret_value():
    # Flower's own variable: other users of the machine can read command lines.
    os.environ.setdefault("FLOWER_BASIC_AUTH", auth)


def count_what_is_told_once() -> None:
    """Flower counts events, and the end of a task stands for its beginning: `worker.events`."""
    from flower import events

    class State(events.EventsState):  # type: ignore[misc]  # Flower has no types
        def event(self, event: dict[str, Any]) -> None:
            super().event(event)
            if "received" in event and "started" in event:
                worker, name = event["hostname"], event.get("name") or ""
                for kind in ("task-received", "task-started"):
                    self.counter[worker][kind] += 1
                    self.metrics.events.labels(worker, kind, name).inc()

    events.EventsState = State


if find_spec("flower"):
    count_what_is_told_once()
