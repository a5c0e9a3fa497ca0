"""Throws away messages that are not of Celery's shape.

Celery ends its worker over some of them, gives the message back, and so ends the next worker, too.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from celery.worker.consumer import Consumer

logger = logging.getLogger(__name__)


class CarefulConsumer(Consumer):  # type: ignore[misc]  # Celery has no types
    """An accepted task whose message were thrown away here would be sent again by the sweeper."""

    def on_send_event_buffered(self) -> None:
        """From any thread: Celery's own adds to the loop's set without its lock."""
        if self.hub:
            self.hub.call_soon(self._flush_events)

    def create_task_handler(self, *arguments: Any, **options: Any) -> Callable[[Any], None]:
        handle = super().create_task_handler(*arguments, **options)

        def careful(message: Any) -> None:
            try:
                handle(message)
            except (TypeError, ValueError, LookupError, AttributeError) as error:
                logger.error("a message of the wrong shape was thrown away: %r", error)
                message.reject_log_error(logger, self.connection_errors)

        return careful
