"""Images in: one that is waited for, or many that are not."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.datastructures import UploadFile
from starlette.responses import JSONResponse, Response

from api.asked import Many, One
from api.deps import Service, SettingsDep
from api.disconnect import unless_gone
from api.errors import problem_of, problem_responses
from api.prepared import PreparedRoute
from api.schemas import ACCEPTED_EXAMPLE, BatchAccepted, BatchEntry, TaskAccepted
from api.service import Inspection, InspectionService, Options
from api.uploads import read_file, shown_name
from api.waits import Wait
from shared.contract import Outcome, Prediction
from shared.errors import ImageError, Unavailable, UploadError, error_for
from shared.settings import Settings
from shared.view import PREDICTION_EXAMPLE

router = APIRouter(tags=["inspection"], route_class=PreparedRoute)


_CALLBACK = {
    "type": "string",
    "format": "callback-url",
    "maxLength": 2048,
    "description": "Gets each answer by POST, signed, if the operator has switched callbacks on",
}


_TOLD = {
    "summary": "The task, once it has ended, signed as in Standard Webhooks",
    "requestBody": {
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/TaskView"}}}
    },
    "responses": {"2XX": {"description": "Taken; after anything else it comes again, for a day"}},
}


def _form(field: str, schema: dict[str, Any]) -> dict[str, Any]:
    """What /docs shows of a body that we read ourselves."""
    properties = {field: schema, "callback_url": _CALLBACK}
    form = {"type": "object", "required": [field], "properties": properties}
    return {
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}}},
        "callbacks": {"told": {"{$request.body#/callback_url}": {"post": _TOLD}}},
    }


_FILE = {"type": "string", "format": "binary", "description": "A photo of the surface"}
_HEADERS = {
    "X-Task-Id": {"schema": {"type": "string"}},
    "X-Model": {"schema": {"type": "string"}, "description": "The model that answered"},
}


@router.post(
    "/upload_image",
    summary="Is the surface on this photo scratched?",
    response_model=Prediction,
    responses={
        200: {
            "content": {"application/json": {"example": PREDICTION_EXAMPLE}},
            "headers": _HEADERS,
        },
        202: {
            "model": TaskAccepted,
            "description": "Accepted; ask `status_url` for the result",
            "content": {"application/json": {"example": ACCEPTED_EXAMPLE}},
        },
        **problem_responses(400, 408, 413, 415, 422, 429, 500, 503, 504),
    },
    openapi_extra=_form("file", _FILE),
)
async def upload_image(request: Request, asked: One, service: Service) -> Response:
    """Waits for the answer, as long as `wait` says; then the task goes on, and 202 names it.

    202 comes at once when the queue is far too long for `wait`. A client that goes away before it
    is answered takes its task back, unless that has begun or has an `Idempotency-Key`.
    """
    inspect = service.inspect(asked.image, asked.wait.seconds, asked.options)
    inspection = await unless_gone(request, inspect)
    request.state.task_id = inspection.task_id
    return _accepted(inspection, asked.wait) if inspection.result is None else _answered(inspection)


@router.post(
    "/upload_images",
    summary="Many photos at once; ask for each result by its task id",
    status_code=202,
    responses=problem_responses(400, 408, 413, 422, 429, 503),
    openapi_extra=_form("files", {"type": "array", "minItems": 1, "items": _FILE}),
)
async def upload_images(
    request: Request, asked: Many, service: Service, settings: SettingsDep
) -> BatchAccepted:
    """One entry a file, in order. A refused file has its problem there; the others go on."""
    accept_all = _accept_all(asked.images, service, settings, asked.options)
    entries = await unless_gone(request, accept_all)
    return BatchAccepted.of(entries)


async def _accept_all(
    images: list[UploadFile], service: InspectionService, settings: Settings, options: Options
) -> list[BatchEntry]:
    entries = []
    task_ids: list[str] = []
    async with service.taken_back(task_ids, options):
        for index, image in enumerate(images):
            entry = BatchEntry(index=index, filename=shown_name(image))
            found = await _accept(image, service, settings, options.of_part(index))
            entries.append(entry.model_copy(update=found))
            task_ids += [found["task_id"]] if "task_id" in found else []
    return entries


async def _accept(
    upload: UploadFile, service: InspectionService, settings: Settings, options: Options
) -> dict[str, Any]:
    """The fields of an entry that say what became of its file."""
    try:
        inspection = await service.submit(await read_file(upload, settings), options)
    except (UploadError, ImageError, Unavailable) as error:
        return {"problem": problem_of(error)}
    return dict(TaskAccepted.of(inspection))


def _accepted(inspection: Inspection, wait: Wait) -> Response:
    body = TaskAccepted.of(inspection)
    headers = {"Location": body.status_url, "X-Task-Id": body.task_id}
    if wait.applied:
        headers["Preference-Applied"] = wait.applied
    return JSONResponse(body.model_dump(mode="json"), 202, headers)


def _answered(inspection: Inspection) -> Response:
    """Raises the error that a recorded failure stands for."""
    result = inspection.result
    failure = result.failure if isinstance(result, Outcome) else result
    if failure:
        raise error_for(failure.code, failure.message)
    assert isinstance(result, Outcome) and result.prediction  # noqa: S101
    model = "".join(char if " " <= char <= "~" else "?" for char in result.model)
    headers = {"X-Task-Id": inspection.task_id, "X-Model": model}
    return JSONResponse(result.prediction.encode(), 200, headers)
