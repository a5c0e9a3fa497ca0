"""What became of a task."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.deps import Service, TaskId, TaskWait
from api.disconnect import unless_gone
from api.errors import problem_responses
from shared.view import TaskView

router = APIRouter(prefix="/tasks", tags=["tasks"])


@router.get("/{task_id}", responses=problem_responses(404, 422, 503))
async def read_task(
    request: Request, task_id: TaskId, wait: TaskWait, service: Service
) -> TaskView:
    """The task as it is, or, with `?wait=`, as soon as it is final."""
    return TaskView.of(await unless_gone(request, service.wait_for(task_id, wait.seconds)))


@router.get(
    "/{task_id}/heatmap.png",
    response_class=Response,
    responses={200: {"content": {"image/png": {}}}, **problem_responses(404, 422, 503)},
)
async def read_heatmap(task_id: TaskId, service: Service) -> Response:
    """Where the evidence for a scratch lies: transparent elsewhere, to be stretched over the photo.

    Of tasks that were uploaded with `?explain=true`.
    """
    return Response(
        await service.heatmap(task_id),
        media_type="image/png",
        headers={"Cache-Control": "private, max-age=3600"},
    )


@router.delete("/{task_id}", responses=problem_responses(404, 409, 422, 503))
async def cancel_task(task_id: TaskId, service: Service) -> TaskView:
    """Cancels what has not started; twice is once."""
    return TaskView.of(await service.cancel(task_id))
