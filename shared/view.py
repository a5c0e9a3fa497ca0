"""A task as everybody sees it: `GET /tasks/{id}`, `GET /events` and callbacks tell the same."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict

from shared.contract import Failure, Outcome, Prediction, TaskStatus, Verdict
from shared.records import TaskRecord

ID_EXAMPLE = "4fd1b4ddc5d24bd7a5b0c1a0a5d0b7fe"
PREDICTION_EXAMPLE = {"pred": "scratches", "prob_no_scratches": 0.03, "prob_scratches": 0.97}
TASK_EXAMPLE: dict[str, Any] = {
    "task_id": ID_EXAMPLE,
    "status": "done",
    "result": PREDICTION_EXAMPLE,
    "error": None,
    "verdict": "scratched",
    "bound": "false alarms at most 5 %, 95 % confidence, from n = 750 held-out images",
    "reason": None,
    "explanation": {
        "hottest": (0.41, 0.63),
        "box": (0.36, 0.58, 0.45, 0.66),
        "heatmap_url": f"/tasks/{ID_EXAMPLE}/heatmap.png",
    },
    "model": "scratch-lite@3f1c",
    "timings_ms": {"decode": 2.1, "forward": 9.8},
}


class ExplanationView(BaseModel):
    """Where the evidence for a scratch lies, in shares of the photo's width and height."""

    #: (x, y), and (left, top, right, bottom) of the region around it
    hottest: tuple[float, float]
    box: tuple[float, float, float, float]
    heatmap_url: str


class TaskView(BaseModel):
    """A task: `result` when it is done, `error` when it failed."""

    model_config = ConfigDict(json_schema_extra={"examples": [TASK_EXAMPLE]})

    task_id: str
    status: TaskStatus
    result: Prediction | None = None
    error: Failure | None = None
    #: what one can act on, and what is promised of it; `reason` says why a person should look
    verdict: Verdict | None = None
    bound: str | None = None
    reason: str | None = None
    explanation: ExplanationView | None = None
    model: str | None = None
    timings_ms: dict[str, float] = {}

    @classmethod
    def of(cls, record: TaskRecord) -> Self:
        view = cls(task_id=record.id, status=record.status, error=record.failure)
        if isinstance(record.result, Outcome):
            view.result = record.result.prediction
            if record.result.ruling:
                view.verdict = record.result.ruling.verdict
                view.bound = record.result.ruling.bound
                view.reason = record.result.ruling.reason
            view.explanation = _explanation(record.result)
            view.model = record.result.model or None
            view.timings_ms = record.result.timings_ms
        return view


def _explanation(outcome: Outcome) -> ExplanationView | None:
    if outcome.explanation is None:
        return None
    heatmap_url = f"/tasks/{outcome.id}/heatmap.png"
    return ExplanationView(heatmap_url=heatmap_url, **outcome.explanation.model_dump())
