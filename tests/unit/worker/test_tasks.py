"""The task's own work: telling a sound message from a bad one, and what is retried."""

from __future__ import annotations

import time
from typing import Any

import pytest
from celery.exceptions import Retry
from redis.exceptions import ConnectionError as RedisConnectionError

from shared.broker import celery_app
from shared.contract import TASK_INSPECT, Failure, InspectJob, Outcome, Prediction
from shared.errors import ServiceError
from shared.settings import Settings
from worker.predictor import Predictor
from worker.tasks import register

ID = "0" * 32


class FakePredictor(Predictor):
    """Answers every job, or raises what the test wants."""

    model, variant = "fake@1", "fake/f32/cpu"
    error: Exception | None = None

    def __init__(self) -> None:
        self.jobs: list[InspectJob] = []

    def failed(self, task_id: str, error: ServiceError) -> Outcome:
        failure = Failure.of(error)
        return Outcome(
            id=task_id, sha256="", failure=failure, model=self.model, variant=self.variant
        )

    def run(self, job: InspectJob) -> Outcome:
        if self.error:
            raise self.error
        self.jobs.append(job)
        answer = Prediction(pred="scratches", prob_no_scratches=0.25, prob_scratches=0.75)
        return Outcome(
            id=job.id, sha256=job.sha256, prediction=answer, model=self.model, variant=self.variant
        )


@pytest.fixture
def predictor() -> FakePredictor:
    return FakePredictor()


def job(task_id: str = ID) -> dict[str, Any]:
    now = time.time()
    return InspectJob(
        id=task_id, sha256="ab", size=1, accepted_at=now, deadline_at=now + 60
    ).encode()


def task_of(predictor: FakePredictor) -> Any:
    app = celery_app(Settings(_env_file=None), results=False)
    register(app, lambda: predictor)
    return app.tasks[TASK_INSPECT]


def run(task: Any, message: Any) -> dict[str, Any]:
    """Runs the task as a worker would, but for the broker."""
    task.push_request(id=ID, called_directly=False, retries=0)
    try:
        return dict(task.run(message))
    finally:
        task.pop_request()


def test_a_sound_job_is_answered(predictor: FakePredictor) -> None:
    outcome = Outcome.decode(run(task_of(predictor), job()))

    assert outcome.prediction and outcome.prediction.pred == "scratches"
    assert [j.id for j in predictor.jobs] == [ID]


@pytest.mark.parametrize(
    "message",
    [None, "text", [], {}, {**job(), "version": 2}, {**job(), "extra": 1}, job("1" * 32)],
    ids=["none", "text", "list", "empty", "version", "extra", "another id"],
)
def test_a_message_of_the_wrong_shape_is_a_recorded_failure(
    predictor: FakePredictor, message: Any
) -> None:
    outcome = Outcome.decode(run(task_of(predictor), message))

    assert outcome.id == ID
    assert outcome.failure and outcome.failure.code == "bad_message"
    assert predictor.jobs == []


def test_trouble_with_redis_is_retried(
    predictor: FakePredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor.error = RedisConnectionError("gone")
    task = task_of(predictor)
    asked: list[dict[str, Any]] = []

    def retry(**how: Any) -> Retry:
        asked.append(how)
        return Retry("later")

    monkeypatch.setattr(task, "retry", retry)

    with pytest.raises(Retry):
        run(task, job())
    assert asked[0]["exc"] is predictor.error
    assert task.max_retries == 3
