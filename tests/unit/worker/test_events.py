from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from celery.events.state import State

from worker.events import ThreadSafeDispatcher, told_once


class SlowPublisher(ThreadSafeDispatcher):  # type: ignore[misc]
    """Publishes to a list, slowly enough for others to add to the buffer meanwhile."""

    def __init__(self, **options: Any) -> None:
        super().__init__(enabled=False, buffer_group=["task"], buffer_limit=5, **options)
        self.enabled = True
        self.published: list[dict[str, Any]] = []

    def _publish(self, event: Any, producer: Any, routing_key: str, **_: Any) -> None:
        sent = list(event) if isinstance(event, list) else [event]
        time.sleep(0.001)
        self.published += sent


def test_no_event_is_lost_or_doubled_while_threads_send_and_flush() -> None:
    dispatcher = SlowPublisher()

    def send(first: int) -> None:
        for number in range(first, first + 100):
            dispatcher.send("task-succeeded", uuid=number)

    threads = [threading.Thread(target=send, args=(100 * n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    dispatcher.flush()

    assert sorted(event["uuid"] for event in dispatcher.published) == list(range(800))


RECEIVED = {"type": "task-received", "uuid": "a", "timestamp": 1.0, "name": "inspect", "clock": 1}
STARTED = {"type": "task-started", "uuid": "a", "timestamp": 2.0, "clock": 2}
SUCCEEDED = {"type": "task-succeeded", "uuid": "a", "timestamp": 3.0, "runtime": 1.0, "clock": 3}


def _state(events: list[dict[str, Any]]) -> State:
    state = State()
    for event in events:
        state.event({"hostname": "worker", "local_received": 4.0, **event})
    return state


def test_a_task_that_has_ended_is_told_once_and_reads_the_same() -> None:
    events = [RECEIVED, STARTED, SUCCEEDED]
    told = told_once(events)
    assert len(told) == 1
    whole, short = (_state(each).tasks["a"] for each in (events, told))
    assert short.as_dict() == whole.as_dict()
    assert (short.state, short.name, short.received, short.started) == (
        "SUCCESS", "inspect", 1.0, 2.0,
    )  # fmt: skip


@pytest.mark.parametrize(
    "events",
    [
        [RECEIVED],
        [RECEIVED, STARTED],
        [STARTED, SUCCEEDED],  # it was told as received before
        [{"type": "task-revoked", "uuid": "a", "timestamp": 3.0}],
    ],
)
def test_what_is_not_whole_is_told_as_it_came(events: list[dict[str, Any]]) -> None:
    assert told_once(events) == events


def test_events_wait_for_others_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[None] = []
    dispatcher = SlowPublisher(on_send_buffered=lambda: asked.append(None))
    dispatcher.send("task-received", uuid="a")  # the first is due at once
    assert len(asked) == 1
    dispatcher.flush()
    monkeypatch.setattr("worker.events._GATHER_S", 3600)
    dispatcher.send("task-received", uuid="b")
    assert len(asked) == 1
    dispatcher.publish("worker-heartbeat", {}, None)  # takes along what waits
    assert [event["uuid"] for event in dispatcher.published[:2]] == ["a", "b"]
