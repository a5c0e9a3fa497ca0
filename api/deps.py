"""What handlers ask for, as `Annotated` aliases; of uploads, see `api.asked`.

All are coroutines: FastAPI runs plain functions in a thread, a hop for each dependency.
"""

from __future__ import annotations

import re
from typing import Annotated, cast

from fastapi import Depends, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from api.fairness import spend
from api.feedback import FeedbackService
from api.links import LinkService
from api.metrics import Metrics
from api.schemas import FeedbackIn
from api.service import InspectionService
from api.uploads import read_small
from api.waits import SAYS, WAIT_PATTERN, Wait, query_wait
from shared.errors import TaskNotFound
from shared.settings import Settings

_TASK_ID = re.compile(r"[0-9a-f]{32}")


async def _settings(request: Request) -> Settings:
    return cast(Settings, request.app.state.settings)


async def _service(request: Request) -> InspectionService:
    return cast(InspectionService, request.app.state.service)


async def _feedback(request: Request) -> FeedbackService:
    return cast(FeedbackService, request.app.state.feedback)


async def _metrics(request: Request) -> Metrics:
    return cast(Metrics, request.app.state.metrics)


SettingsDep = Annotated[Settings, Depends(_settings)]
Service = Annotated[InspectionService, Depends(_service)]


async def _links(request: Request) -> LinkService:
    return cast(LinkService, request.app.state.links)


FeedbackDep = Annotated[FeedbackService, Depends(_feedback)]
Links = Annotated[LinkService, Depends(_links)]
MetricsDep = Annotated[Metrics, Depends(_metrics)]


async def _task_wait(
    settings: SettingsDep,
    wait: Annotated[str, Query(description=SAYS, json_schema_extra=WAIT_PATTERN)] = "false",
) -> Wait:
    return query_wait(wait, settings)


async def _task_id(
    task_id: Annotated[str, Path(description="As given when it was accepted")],
) -> str:
    """Ids of any other shape were never given out: Redis is not asked."""
    if not _TASK_ID.fullmatch(task_id):
        raise TaskNotFound
    return task_id


async def _task_ids(
    settings: SettingsDep,
    ids: Annotated[str, Query(description="Task ids, separated by commas")],
) -> list[str]:
    found = list(dict.fromkeys(ids.split(",")))
    if len(found) > settings.batch_max_files:
        text = f"are {len(found)}; the limit is {settings.batch_max_files}"
        raise RequestValidationError([{"loc": ("query", "ids"), "msg": text, "type": "too_long"}])
    return found


async def _limited(request: Request) -> None:
    await spend(request, 1)


async def _feedback_body(request: Request, settings: SettingsDep) -> FeedbackIn:
    """Read by ourselves: FastAPI would take a body without end. Only JSON: no form of another
    site can send it."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if kind != "application/json":
            raise ValueError("must be application/json")
        return FeedbackIn.model_validate_json(await read_small(request, settings))
    except ValidationError as error:
        found = [{**e, "loc": ("body", *e["loc"])} for e in error.errors(include_url=False)]
        raise RequestValidationError(found) from None
    except ValueError as error:
        raise RequestValidationError([{"loc": ("body",), "msg": str(error)}]) from None


Limited = Depends(_limited)
FeedbackBody = Annotated[FeedbackIn, Depends(_feedback_body)]
TaskWait = Annotated[Wait, Depends(_task_wait)]
TaskIds = Annotated[list[str], Depends(_task_ids)]
TaskId = Annotated[str, Depends(_task_id)]
