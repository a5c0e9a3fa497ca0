"""The api's surroundings without a worker: a sender that can play one, results, images."""

from __future__ import annotations

import io
import json
from collections.abc import Awaitable, Callable

from PIL import Image
from redis.asyncio import Redis

from shared.contract import Failure, InspectJob, Outcome, Prediction
from shared.errors import BrokerUnavailable
from shared.records import CONCLUDE, conclusion, result_key

PREDICTION = Prediction(pred="scratches", prob_no_scratches=0.25, prob_scratches=0.75)


def image_bytes(kind: str = "JPEG", size: tuple[int, int] = (8, 6)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, "grey").save(buffer, kind)
    return buffer.getvalue()


def outcome(
    task_id: str, *, failure: Failure | None = None, model: str = "scratch-lite@1a2b"
) -> Outcome:
    return Outcome(
        id=task_id,
        sha256="00",
        prediction=None if failure else PREDICTION,
        failure=failure,
        model=model,
        variant="openvino/f32/cpu",
        timings_ms={"forward": 9.5},
    )


class FakeWorker:
    """Stores and publishes results as Celery's backend does."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis

    @staticmethod
    def meta(result: Outcome, status: str = "SUCCESS") -> str:
        fields = {"status": status, "result": result.encode(), "task_id": result.id}
        return json.dumps(fields)

    async def finish(self, result: Outcome) -> None:
        keys, arguments = conclusion(result.id, self.meta(result), ttl_s=600)
        await self.redis.eval(CONCLUDE, len(keys), *keys, *arguments)

    async def finish_unheard(self, result: Outcome) -> None:
        """As when the publication was lost."""
        await self.redis.set(result_key(result.id), self.meta(result))

    async def publish(self, task_id: str, message: str | bytes) -> None:
        await self.redis.publish(result_key(task_id), message)


class FakeSender:
    """Remembers jobs; `then` plays what the worker does about each."""

    def __init__(self) -> None:
        self.jobs: list[InspectJob] = []
        self.fails = False
        self.closed = False
        self.then: Callable[[InspectJob], Awaitable[None]] | None = None

    async def send(self, job: InspectJob) -> None:
        if self.fails:
            raise BrokerUnavailable
        self.jobs.append(job)
        if self.then:
            await self.then(job)

    def close(self) -> None:
        self.closed = True
