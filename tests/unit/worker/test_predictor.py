"""Job in, outcome out, with fakeredis and a fake model."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import fakeredis
import numpy as np
import pytest
from PIL import Image

from shared.contract import InspectJob, Outcome, TaskStatus
from shared.model.decode import Pixels
from shared.model.evidence import Trace
from shared.model.heatmap import Heatmap
from shared.model.inspector import Verdict
from shared.model.ruling import Ruling
from shared.model.runtime import Embedded, Logits
from shared.records import heatmap_key, task_key, upload_key
from shared.worklist import Worklist
from worker.batcher import Batcher
from worker.lineup import Lineup
from worker.predictor import Predictor

ID = "0" * 32


class Inspector:
    """Three verbs; what fails is up to the test."""

    title = "fake@1"
    manifest = SimpleNamespace(threshold=0.5)
    runtime = SimpleNamespace(variant="fake/f32/cpu")
    preprocess_error: Exception | None = None
    forward_error: Exception | None = None
    shows_features = True

    def preprocess(self, data: bytes) -> Pixels:
        if self.preprocess_error:
            raise self.preprocess_error
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(image.convert("RGB"))[None]

    def forward(self, views: Pixels) -> Logits:
        if self.forward_error:
            raise self.forward_error
        return np.array([[0.0, 1.0]] * len(views), np.float32)

    def embed(self, views: Pixels) -> list[Embedded]:
        features = np.array([0.5, 1e9], np.float32) if self.shows_features else None
        return [Embedded(logits, features) for logits in self.forward(views)]

    def trace(self, views: Pixels) -> list[Trace]:
        nothing = np.zeros((1, 1), np.float32)
        return [Trace(logits, nothing, ()) for logits in self.forward(views)]

    embedding_space = "tower/f32"

    def place(self, features: Any) -> Any:
        return None if features is None else SimpleNamespace(unlike=False)

    def rule(self, verdict: Verdict, place: Any) -> Ruling:
        return Ruling("scratched", "false alarms at most 5 %")

    def locate(self, trace: Trace) -> Heatmap:
        return Heatmap(np.eye(4, dtype=np.float32))

    def postprocess(self, logits: Logits) -> Verdict:
        return Verdict("scratches", 0.25, 0.75)


@pytest.fixture
def redis() -> fakeredis.FakeRedis:
    return fakeredis.FakeRedis()


@pytest.fixture
def inspector() -> Inspector:
    return Inspector()


@pytest.fixture
def seen() -> list[Any]:
    """What history and drift are told."""
    return []


@pytest.fixture
def predictor(inspector: Any, redis: Any, seen: list[Any]) -> Iterator[Predictor]:
    batcher = Batcher(max_batch=2)
    worklist = Worklist(redis, record_ttl_s=60)
    yield Predictor(
        lambda: Lineup(inspector),
        batcher,
        worklist,
        max_deliveries=2,
        see=seen.append,
        watch=seen.append,
    )
    batcher.close()


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "PNG")
    return buffer.getvalue()


def judged(predictor: Predictor, job: InspectJob) -> Outcome:
    outcome = predictor.run(job)
    assert outcome
    return outcome


def accepted(redis: Any, *, image: bytes | None = None, late: bool = False) -> InspectJob:
    now = time.time()
    redis.hset(task_key(ID), mapping={"accepted_at": now, "deadline_at": now + 60})
    if image is not None:
        redis.set(upload_key(ID), image)
    deadline = now - 1 if late else now + 60
    return InspectJob(id=ID, sha256="ab", size=1, accepted_at=now, deadline_at=deadline)


def test_a_photo_becomes_a_prediction_with_timings(predictor: Predictor, redis: Any) -> None:
    outcome = judged(predictor, accepted(redis, image=png()))

    assert outcome.status == TaskStatus.DONE
    assert outcome.prediction and outcome.prediction.pred == "scratches"
    assert (outcome.model, outcome.variant) == ("fake@1", "fake/f32/cpu")
    assert set(outcome.timings_ms) == {"queue", "fetch", "decode", "wait", "forward"}


def test_a_ruling_goes_to_those_who_understand_it(predictor: Predictor, redis: Any) -> None:
    """An api of before refuses outcomes with fields that it does not know."""
    job = accepted(redis, image=png())

    assert "ruling" not in judged(predictor, job).encode()
    ruled = judged(predictor, job.model_copy(update={"ruling": True}))
    assert ruled.ruling and ruled.ruling.verdict == "scratched"
    assert Outcome.decode(ruled.encode()) == ruled


@pytest.mark.parametrize("shows_features", [True, False])
def test_history_and_drift_are_told_what_the_head_saw(
    shows_features: bool, inspector: Inspector, redis: Any, seen: list[Any], predictor: Predictor
) -> None:
    inspector.shows_features = shows_features

    judged(predictor, accepted(redis, image=png()))

    *samples, kept = seen
    assert kept.verdict == "scratched"
    assert len(samples) == shows_features
    if shows_features:
        assert np.frombuffer(kept.embedding, "<f2").tolist() == [0.5, 65504]
        assert kept.embedding_space == "tower/f32"
    else:
        assert kept.embedding is None


def test_where_the_evidence_lies_is_kept_when_it_was_asked_for(
    predictor: Predictor, redis: Any
) -> None:
    job = accepted(redis, image=png())

    plain = predictor.run(job)
    assert plain.explanation is None and redis.get(heatmap_key(ID)) is None

    explained = predictor.run(job.model_copy(update={"explain": True}))
    assert explained.prediction == plain.prediction
    assert explained.explanation and explained.explanation.hottest == (0.125, 0.125)
    assert "explain" in explained.timings_ms
    with Image.open(io.BytesIO(redis.get(heatmap_key(ID)))) as heatmap:
        assert heatmap.size == (4, 4)
    assert 0 < redis.ttl(heatmap_key(ID)) <= 60


def test_the_same_job_twice_gives_the_same_answer(predictor: Predictor, redis: Any) -> None:
    job = accepted(redis, image=png())

    assert judged(predictor, job).prediction == judged(predictor, job).prediction


def fail_preprocess(inspector: Inspector) -> None:
    inspector.preprocess_error = KeyError("a bug")


def fail_forward(inspector: Inspector) -> None:
    inspector.forward_error = RuntimeError("out of memory")


@pytest.mark.parametrize(
    ("breakage", "code"),
    [(fail_preprocess, "internal_error"), (fail_forward, "inference_failed")],
)
def test_a_broken_step_is_a_recorded_failure(
    predictor: Predictor,
    redis: Any,
    inspector: Inspector,
    breakage: Callable[[Inspector], None],
    code: str,
) -> None:
    breakage(inspector)

    outcome = judged(predictor, accepted(redis, image=png()))

    assert outcome.failure and outcome.failure.code == code
    assert "bug" not in outcome.failure.message and "memory" not in outcome.failure.message


def test_an_upload_that_expired_is_a_recorded_failure(predictor: Predictor, redis: Any) -> None:
    outcome = judged(predictor, accepted(redis))

    assert outcome.failure and outcome.failure.code == "upload_lost"


def test_an_ended_or_cancelled_task_is_not_decoded(predictor: Predictor, redis: Any) -> None:
    job = accepted(redis, image=b"never looked at")
    redis.hset(task_key(ID), "finished_at", 1)

    assert predictor.run(job) is None


def test_a_task_that_was_withdrawn_is_not_decoded(predictor: Predictor, redis: Any) -> None:
    job = accepted(redis, image=b"never looked at")
    redis.delete(task_key(ID))

    assert predictor.run(job) is None


def test_a_late_task_is_not_decoded(predictor: Predictor, redis: Any) -> None:
    outcome = judged(predictor, accepted(redis, image=b"never looked at", late=True))

    assert outcome.failure and outcome.failure.code == "task_timed_out"


def test_an_image_that_killed_its_workers_is_given_up(predictor: Predictor, redis: Any) -> None:
    job = accepted(redis, image=png())
    redis.hset(task_key(ID), "deliveries", 2)

    outcome = judged(predictor, job)

    assert outcome.failure and outcome.failure.code == "poison_image"
