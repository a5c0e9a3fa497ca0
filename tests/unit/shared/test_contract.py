"""What crosses the queue: round trips, and everything else refused as one error."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.contract import Failure, InspectJob, Outcome, Prediction, Ruling, TaskStatus
from shared.errors import BadMessage, CorruptImage

JOB = InspectJob(id="a", sha256="00", size=3, accepted_at=1.5, deadline_at=301.5)
PREDICTION = Prediction(pred="scratches", prob_no_scratches=0.25, prob_scratches=0.75)
FAILURE = Failure(code="corrupt_image", message="half")


def _outcome(**fields: Any) -> dict[str, Any]:
    return {"version": 1, "id": "a", "sha256": "0", "model": "m", "variant": "v"} | fields


DONE = Outcome.decode(_outcome(prediction=PREDICTION.encode(), timings_ms={"forward": 1.5}))
RULING = Ruling(verdict="review", bound="missed scratches at most 1 %", reason="between")
RULED = Outcome.decode(_outcome(prediction=PREDICTION.encode(), ruling=RULING.encode()))
FAILED = Outcome.decode(_outcome(failure=FAILURE.encode()))


@pytest.mark.parametrize("message", [JOB, DONE, RULED, FAILED, PREDICTION, FAILURE])
def test_a_message_survives_json(message: Any) -> None:
    assert type(message).decode(json.loads(json.dumps(message.encode()))) == message


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        "text",
        {},
        JOB.encode() | {"version": 2},
        JOB.encode() | {"version": "1"},
        JOB.encode() | {"path": "/etc/passwd"},
        JOB.encode() | {"id": None},
        JOB.encode() | {"size": "many"},
    ],
)
def test_a_job_of_another_shape_is_a_bad_message(data: object) -> None:
    with pytest.raises(BadMessage):
        InspectJob.decode(data)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"prediction": PREDICTION.encode(), "failure": FAILURE.encode()},
        {"prediction": PREDICTION.encode() | {"pred": "maybe"}},
        {"failure": FAILURE.encode(), "version": 2},
        {"failure": FAILURE.encode(), "trace": "x"},
    ],
)
def test_an_outcome_is_a_prediction_or_a_failure(fields: dict[str, Any]) -> None:
    with pytest.raises(BadMessage):
        Outcome.decode(_outcome(**fields))


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_probability_is_a_number(number: float) -> None:
    with pytest.raises(BadMessage):
        Prediction.decode(PREDICTION.encode() | {"prob_scratches": number})


def test_a_bad_message_does_not_repeat_what_it_was_sent() -> None:
    with pytest.raises(BadMessage) as caught:
        InspectJob.decode(JOB.encode() | {"size": "a secret"})
    assert "secret" not in caught.value.message


def test_the_status_follows_from_the_content() -> None:
    assert DONE.status is TaskStatus.DONE
    assert FAILED.status is TaskStatus.FAILED


def test_a_failure_carries_the_code_of_its_error() -> None:
    assert Failure.of(CorruptImage("half")) == FAILURE


def test_an_outcome_without_a_ruling_is_as_versions_before_wrote_it() -> None:
    """They refuse fields that they do not know; only jobs that say so are answered with one."""
    assert "ruling" not in DONE.encode() and "ruling" not in FAILED.encode()
    assert not JOB.ruling
