"""The ends of many tasks on one connection, instead of a long poll for each."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

from fastapi import APIRouter
from fastapi.sse import EventSourceResponse, ServerSentEvent
from redis.exceptions import RedisError

from api.deps import Service, TaskIds
from api.errors import problem_responses
from shared.view import TaskView

logger = logging.getLogger(__name__)

router = APIRouter(tags=["tasks"])


@router.get("/events", response_class=EventSourceResponse, responses=problem_responses(422))
async def events(task_ids: TaskIds, service: Service) -> AsyncIterator[ServerSentEvent]:
    """Server-sent events: `task` with the view of each task as soon as it is final, `unknown` with
    an id that was never given out or has expired, and `end` after the last.

    A stream that ends without `end` was cut; what was told before is told again on the next.
    """
    try:
        async for task_id, record in service.finals(task_ids):
            if record is None:
                yield ServerSentEvent(event="unknown", data={"task_id": task_id})
            else:
                yield ServerSentEvent(event="task", data=TaskView.of(record), id=task_id)
        yield ServerSentEvent(event="end", data={"tasks": len(task_ids)})
    except (RedisError, OSError) as error:  # too late for another status
        logger.warning("events cut: %r", error)
