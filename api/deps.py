"""What handlers ask for, as `Annotated` aliases. Admission comes before the body is read.

All are coroutines: FastAPI runs plain functions in a thread, a hop for each dependency.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator
from typing import Annotated, cast

from fastapi import Depends, Header, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from api.fairness import spend
from api.feedback import FeedbackService
from api.identity import Client
from api.links import LinkService
from api.metrics import Metrics
from api.schemas import FeedbackIn
from api.service import InspectionService, Options
from api.uploads import Batch, Upload, batch_of, read_many, read_one, read_small
from api.waits import Wait, wait_of_prefer, wait_of_query
from shared.errors import TaskNotFound
from shared.settings import Settings

_TASK_ID = re.compile(r"[0-9a-f]{32}")
_SAYS = "`true`, `false`, or the seconds to wait for the result"
#: for the description alone; `api.waits` reads
_PATTERN = {"pattern": r"^([Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee]|[0-9]{1,9}(\.[0-9]{1,9})?)$"}
_NO_PATTERN = {"pattern": r"^([Ff][Aa][Ll][Ss][Ee]|0{1,9}(\.0{1,9})?)$"}


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


def _invalid_wait(text: str) -> RequestValidationError:
    return RequestValidationError([{"loc": ("query", "wait"), "msg": text, "type": "value_error"}])


def _query_wait(text: str, settings: Settings) -> Wait:
    try:
        return wait_of_query(text, settings)
    except ValueError:
        raise _invalid_wait(f"must be {_SAYS}") from None


async def _upload_wait(
    settings: SettingsDep,
    wait: Annotated[
        str | None,
        Query(description=f"{_SAYS}; without it, as configured", json_schema_extra=_PATTERN),
    ] = None,
    prefer: Annotated[
        list[str] | None, Header(description="RFC 7240: `respond-async` and `wait=SECONDS`")
    ] = None,
) -> Wait:
    return wait_of_prefer(prefer or [], settings) if wait is None else _query_wait(wait, settings)


async def _task_wait(
    settings: SettingsDep,
    wait: Annotated[str, Query(description=_SAYS, json_schema_extra=_PATTERN)] = "false",
) -> Wait:
    return _query_wait(wait, settings)


async def _no_wait(
    settings: SettingsDep,
    wait: Annotated[
        str,
        Query(
            description="Only `false`: a batch is never waited for", json_schema_extra=_NO_PATTERN
        ),
    ] = "false",
) -> None:
    if _query_wait(wait, settings).seconds:
        raise _invalid_wait("a batch is never waited for; ask each /tasks/{id}?wait=SECONDS")


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


Deadline = Annotated[
    float | None,
    Query(
        gt=0,
        allow_inf_nan=False,
        description="Seconds after which the answer is worth nothing: what cannot be done by then "
        "is refused at once, what is not done by then is dropped",
    ),
]


async def _admitted(request: Request, service: Service, deadline: Deadline = None) -> None:
    await spend(request, 1)
    declared = request.headers.get("content-length", "")
    size = int(declared) if declared.isdecimal() else 0
    await service.admit(size=size, deadline_s=deadline)


Admitted = Depends(_admitted)
Limited = Depends(_limited)
FeedbackBody = Annotated[FeedbackIn, Depends(_feedback_body)]
UploadWait = Annotated[Wait, Depends(_upload_wait)]
TaskWait = Annotated[Wait, Depends(_task_wait)]
TaskIds = Annotated[list[str], Depends(_task_ids)]
TaskId = Annotated[str, Depends(_task_id)]


async def _image(
    request: Request, settings: SettingsDep, _wait: UploadWait, _admitted: Annotated[None, Admitted]
) -> Upload:
    return await read_one(request, settings)


async def _images(
    request: Request,
    settings: SettingsDep,
    _wait: Annotated[None, Depends(_no_wait)],
    _admitted: Annotated[None, Admitted],
) -> AsyncIterator[Batch]:
    form = await read_many(request, settings)
    try:
        batch = batch_of(form, settings)
        await spend(request, len(batch.files) - 1)
        yield batch
    finally:
        await form.close()


async def _options(
    request: Request,
    client_key: Client,
    explain: Annotated[
        bool, Query(description="Also keep where the evidence lies: `/tasks/{id}/heatmap.png`")
    ] = False,
    idempotency_key: Annotated[
        str | None,
        Header(
            min_length=1,
            max_length=255,
            description="A text of the client's own; sent again with the same image, it is answered"
            " with the same task",
        ),
    ] = None,
    deadline: Deadline = None,
) -> Options:
    client = getattr(request.state, "key_name", None) or ""
    once = idempotency_key and hashlib.sha256(f"{client}\0{idempotency_key}".encode()).hexdigest()
    return Options(explain=explain, once=once, deadline_s=deadline, client=client_key)


UploadOptions = Annotated[Options, Depends(_options)]
Image = Annotated[Upload, Depends(_image)]
Images = Annotated[Batch, Depends(_images)]
