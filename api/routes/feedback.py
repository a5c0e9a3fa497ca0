"""What people say of answers, and the photos that they are asked about."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from api.deps import FeedbackBody, FeedbackDep, Limited, SettingsDep, TaskId
from api.errors import problem_responses
from api.identity import Reviewer
from api.schemas import FeedbackIn, FeedbackView, LabellingQueue, QueuedImage
from shared.images import kind_of

router = APIRouter(tags=["feedback"])

#: what a browser shows of itself; the rest it would download
_SHOWN = {"jpeg", "png", "gif", "bmp", "webp", "avif"}
_MOST = 200


@router.post(
    "/tasks/{task_id}/feedback",
    dependencies=[Limited],
    responses=problem_responses(404, 408, 409, 413, 422, 429, 503),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": FeedbackIn.model_json_schema()}},
        }
    },
)
async def give_feedback(
    request: Request, task_id: TaskId, body: FeedbackBody, feedback: FeedbackDep
) -> FeedbackView:
    """What the photo really shows, or whether the answer was `right` or `wrong`.

    All words are kept; the last one about a photo counts.
    """
    key_name = request.state.key_name or ""
    noted = await feedback.say(task_id, body.label, note=body.note, key_name=key_name)
    return FeedbackView.model_validate(vars(noted))


@router.delete(
    "/tasks/{task_id}/feedback",
    dependencies=[Limited],
    responses=problem_responses(404, 409, 422, 429, 503),
)
async def take_back_feedback(
    request: Request, task_id: TaskId, feedback: FeedbackDep
) -> FeedbackView:
    """Nothing that was said about the photo counts any more."""
    noted = await feedback.say(task_id, None, key_name=request.state.key_name or "")
    return FeedbackView.model_validate(vars(noted))


@router.get(
    "/tasks/{task_id}/image",
    response_class=Response,
    responses={200: {"content": {"image/*": {}}}, **problem_responses(404, 422, 503)},
)
async def read_image(task_id: TaskId, feedback: FeedbackDep) -> Response:
    """The photo as it was uploaded, where the history keeps it."""
    return shown(await feedback.image(task_id))


@router.get("/labelling", dependencies=[Reviewer], responses=problem_responses(403, 422, 503))
async def labelling_queue(
    feedback: FeedbackDep,
    settings: SettingsDep,
    limit: Annotated[int, Query(ge=1, le=_MOST)] = 20,
) -> LabellingQueue:
    """The unlabelled photos that would teach a model the most, the best first."""
    found, unlabelled = await feedback.queue(limit)
    return LabellingQueue(
        images=[QueuedImage.of(answer) for answer in found],
        unlabelled=unlabelled,
        history_days=settings.history_days,
    )


def shown(image: bytes) -> Response:
    """As a page can show it, where browsers show its kind at all."""
    kind = kind_of(image)
    inline = kind in _SHOWN
    return Response(
        image,
        media_type=f"image/{kind}" if inline else "application/octet-stream",
        headers={"Content-Disposition": "inline" if inline else "attachment"},
    )
