"""The Celery task: a thin door to `Predictor`.

| what happens                        | what becomes of the task                             |
|-------------------------------------|------------------------------------------------------|
| bad image, or too late              | a failed outcome, stored as the result; never retried |
| the model fails on this image       | a failed outcome, stored as the result; never retried |
| it has an answer, or was cancelled  | ignored: nothing is decoded                          |
| Redis does not answer               | retried a few times with jitter, then by the sweeper  |
| the process dies                    | sent again by the sweeper, or by RabbitMQ            |
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery import Celery, Task
from celery.exceptions import Ignore
from redis.exceptions import RedisError

from shared.contract import TASK_INSPECT, InspectJob, Outcome
from shared.errors import BadMessage
from shared.tracing import processing, trace_outcome
from worker.predictor import Predictor


def register(app: Celery, predictor: Callable[[], Predictor]) -> None:
    """`predictor` is asked for at each call: the model is opened after the tasks are known."""

    @app.task(  # type: ignore[untyped-decorator]  # Celery has no types
        name=TASK_INSPECT,
        bind=True,
        shared=False,  # else every app made later in this process gets this function, too
        autoretry_for=(RedisError,),
        max_retries=3,
        retry_backoff=1,
        retry_backoff_max=8,
        retry_jitter=True,
    )
    def inspect(task: Task, job: Any = None) -> Outcome:
        task_id = str(task.request.id)
        try:
            decoded = InspectJob.decode(job)
            if decoded.id != task_id:
                raise BadMessage("The job is not the one that its message names.")
        except BadMessage as error:
            return predictor().failed(task_id, error)
        with processing(TASK_INSPECT, task_id, task.request.headers or {}):
            outcome = predictor().run(decoded)
            if outcome:
                trace_outcome(outcome)
        if outcome is None:
            raise Ignore
        return outcome
