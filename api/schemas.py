"""The bodies of answers, with the examples that /docs shows."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from api.feedback import Said
from api.service import Inspection
from shared.contract import Label, TaskStatus
from shared.history.store import Answered
from shared.view import ID_EXAMPLE

ACCEPTED_EXAMPLE = {
    "task_id": ID_EXAMPLE,
    "status": "queued",
    "status_url": f"/tasks/{ID_EXAMPLE}",
    "position": 12,
    "eta_ms": 240,
}


def _example(example: dict[str, Any]) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [example]})


class Problem(BaseModel):
    """RFC 9457. `code` is stable and meant for programs, `detail` for people."""

    model_config = _example(
        {
            "type": "about:blank",
            "title": "Unsupported Media Type",
            "status": 415,
            "detail": "This is not a JPEG, PNG, WebP, AVIF, BMP, GIF or TIFF image.",
            "code": "unsupported_image",
        }
    )

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    instance: str | None = None


class TaskAccepted(BaseModel):
    """The task goes on; ask `status_url` for its result."""

    model_config = _example(ACCEPTED_EXAMPLE)

    task_id: str
    status: TaskStatus
    status_url: str
    #: in the queue, from 1, those in work included
    position: int | None = None
    #: until the answer, by how fast the workers have been of late; null when nobody can tell
    eta_ms: int | None = None

    @classmethod
    def of(cls, inspection: Inspection) -> Self:
        return cls(
            task_id=inspection.task_id,
            status=TaskStatus.QUEUED,
            status_url=f"/tasks/{inspection.task_id}",
            position=inspection.position,
            eta_ms=inspection.eta_ms,
        )


class FeedbackIn(BaseModel):
    """`right` and `wrong` say so of the answer, the other two what the photo shows."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"label": "wrong", "note": "a reflection"}]},
    )

    label: Said
    #: without NUL, which Postgres does not take
    note: Annotated[str | None, Field(max_length=1000, pattern=r"^[^\x00]*$")] = None


class FeedbackView(BaseModel):
    """`label` is what now counts; null: nothing. `pred` is what had been answered.

    `image_kept`: whether the photo is in the history, so that a model can learn from it.
    """

    model_config = _example(
        {"task_id": ID_EXAMPLE, "label": "no_scratches", "pred": "scratches", "image_kept": True}
    )

    task_id: str
    label: Label | None
    pred: Label
    image_kept: bool


class QueuedImage(BaseModel):
    """A kept photo that nobody has labelled."""

    task_id: str
    image_url: str
    pred: Label
    prob_scratches: float
    model: str
    #: unix time, seconds
    at: float

    @classmethod
    def of(cls, answer: Answered) -> Self:
        fields = {name: getattr(answer, name) for name in cls.model_fields if name != "image_url"}
        return cls(image_url=f"/tasks/{answer.task_id}/image", **fields)


class LabellingQueue(BaseModel):
    images: list[QueuedImage]
    #: photos in all that nobody has labelled
    unlabelled: int
    #: 0: no more photos come in
    history_days: float


class BatchEntry(BaseModel):
    """One file of a batch, by its place in the form: accepted, or refused with a problem."""

    index: int
    filename: str
    task_id: str | None = None
    status: TaskStatus | None = None
    status_url: str | None = None
    position: int | None = None
    eta_ms: int | None = None
    problem: Problem | None = None


class BatchAccepted(BaseModel):
    model_config = _example(
        {
            "tasks": [
                {"index": 0, "filename": "door.jpg", **ACCEPTED_EXAMPLE},
                {
                    "index": 1,
                    "filename": "notes.txt",
                    "problem": Problem.model_config["json_schema_extra"]["examples"][0],  # type: ignore[index]
                },
            ],
            "events_url": f"/events?ids={ID_EXAMPLE}",
        }
    )

    tasks: list[BatchEntry]
    #: server-sent events: each task as soon as it is final
    events_url: str | None = None

    @classmethod
    def of(cls, entries: list[BatchEntry]) -> Self:
        ids = [entry.task_id for entry in entries if entry.task_id]
        return cls(tasks=entries, events_url=f"/events?ids={','.join(ids)}" if ids else None)


class Alive(BaseModel):
    status: Literal["ok"] = "ok"


class ReadyWorker(BaseModel):
    """`behind`: why it does not serve what was promoted."""

    name: str
    model: str
    variant: str
    challenger: str | None = None
    behind: str | None = None


class ServiceState(BaseModel):
    #: with a loaded model; none is no error here
    workers: list[ReadyWorker]
    #: accepted and unfinished
    open_tasks: int
    queue_limit: int
    flower_port: int


class Ready(BaseModel):
    model_config = _example(
        {
            "status": "ready",
            "workers": [
                {"name": "w1@host", "model": "scratch-lite@3f1c", "variant": "openvino/f32/cpu"}
            ],
        }
    )

    status: Literal["ready"] = "ready"
    workers: list[ReadyWorker]
