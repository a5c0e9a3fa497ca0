from __future__ import annotations

import threading
import time
from typing import Any

from worker.events import ThreadSafeDispatcher


class SlowPublisher(ThreadSafeDispatcher):  # type: ignore[misc]
    """Publishes to a list, slowly enough for others to add to the buffer meanwhile."""

    def __init__(self) -> None:
        super().__init__(enabled=False, buffer_group=["task"], buffer_limit=5)
        self.enabled = True
        self.published: list[dict[str, Any]] = []

    def _publish(self, event: Any, producer: Any, routing_key: str, **_: Any) -> None:
        sent = list(event)
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
