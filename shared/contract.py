"""Everything that crosses the queue: task and queue names, the job, the outcome. JSON only."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from shared.errors import BadMessage, ServiceError

#: Celery task name and queues
TASK_INSPECT = "inspect"
QUEUE_INSPECT = "inspect"
#: raised by one whenever a field changes its meaning; a worker refuses other versions
CONTRACT_VERSION: Literal[1] = 1

Label = Literal["scratches", "no_scratches"]
Verdict = Literal["scratched", "clean", "review"]


class TaskStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def decode(cls, data: object) -> Self:
        """Raises BadMessage when `data` is not of this shape and version."""
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise BadMessage(f"{cls.__name__}: {error.error_count()} invalid field(s)") from error

    def encode(self) -> dict[str, Any]:
        """Plain JSON values, for Celery's serializer."""
        return self.model_dump(mode="json")


class InspectJob(_Message):
    """The ticket in the queue; the image itself waits in Redis under the id."""

    version: Literal[1] = CONTRACT_VERSION
    id: str
    #: of the uploaded bytes, hex
    sha256: str
    #: bytes
    size: int
    #: unix time, seconds, by the clock of the api
    accepted_at: float
    deadline_at: float
    #: also say where the evidence lies
    explain: bool = False
    #: whoever reads the outcome understands a `ruling` in it; versions before would refuse it
    ruling: bool = False
    #: who asked, as an opaque key; empty when unknown. Trials give one client one model.
    client: str = ""
    #: when this copy was sent; the sweeper sends another when copies sent later were taken up
    sent_at: float = 0.0


class Prediction(_Message):
    """The answer to `POST /upload_image`, exactly; the two probabilities sum to 1."""

    pred: Label
    prob_no_scratches: float
    prob_scratches: float


class Failure(_Message):
    """A recorded failure: `code` is stable, `message` is for people."""

    code: str
    message: str

    @classmethod
    def of(cls, error: ServiceError) -> Self:
        return cls(code=error.code, message=error.message)


class Explanation(_Message):
    """Where the evidence for a scratch lies, in shares of the photo's width and height."""

    #: (x, y)
    hottest: tuple[float, float]
    #: (left, top, right, bottom) of the region around it
    box: tuple[float, float, float, float]


class Ruling(_Message):
    """What one can act on, and what is promised of it; see `shared/model/ruling.py`."""

    verdict: Verdict
    #: for people: such as `false alarms at most 5 %, 95 % confidence, from n = 750 ...`
    bound: str
    #: of a review alone: between the thresholds, unlike all training photos, or no promise
    reason: Literal["between", "unlike", "uncertified"] | None = None


class Outcome(_Message):
    """What a worker made of a job: a prediction or a failure, never both."""

    version: Literal[1] = CONTRACT_VERSION
    id: str
    sha256: str
    prediction: Prediction | None = None
    failure: Failure | None = None
    #: of a prediction, where it was asked for
    explanation: Explanation | None = None
    #: of a prediction, where the job says that it is understood
    ruling: Ruling | None = None
    #: checkpoint name and revision, as in the header `X-Model`
    model: str
    #: runtime, precision and device, such as `openvino/f32/cpu`
    variant: str
    #: milliseconds by stage
    timings_ms: dict[str, float] = {}

    def encode(self) -> dict[str, Any]:
        """Without a ruling, as versions before would write it, that they may read it."""
        return self.model_dump(mode="json", exclude=None if self.ruling else {"ruling"})

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.prediction is None) == (self.failure is None):
            raise ValueError("an outcome is either a prediction or a failure")
        return self

    @classmethod
    def unseen(cls, task_id: str, error: ServiceError) -> Self:
        """The failure of a task that no model has looked at."""
        return cls(id=task_id, sha256="", failure=Failure.of(error), model="", variant="")

    def __repr__(self) -> str:
        """What Flower shows of a task's result."""
        if self.prediction:
            found = f"{self.prediction.pred} {self.prediction.prob_scratches:.4f}"
        else:
            found = self.failure.code if self.failure else ""
        return f"{found} by {self.model or 'nobody'} on {self.variant or 'nothing'}"

    @property
    def status(self) -> TaskStatus:
        return TaskStatus.DONE if self.prediction else TaskStatus.FAILED
