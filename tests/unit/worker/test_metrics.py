"""What a worker counts, read as Prometheus reads it: over HTTP."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from cli.stack import free_port
from shared.contract import Failure, Outcome, Prediction, Ruling
from shared.drift import DriftReport
from shared.model.drift import Moved
from worker.metrics import WorkerMetrics

Read = Callable[..., float]


@pytest.fixture
def metrics() -> WorkerMetrics:
    return WorkerMetrics()


@pytest.fixture
def read(metrics: WorkerMetrics) -> Read:
    port = free_port()
    metrics.serve("127.0.0.1", port)

    def value(name: str, **labels: str) -> float:
        text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
        found = [
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and sample.labels == labels
        ]
        assert len(found) == 1, (name, labels)
        return found[0]

    return value


def outcome(**fields: object) -> Outcome:
    return Outcome.model_validate(
        {"id": "a", "sha256": "b", "model": "m@1", "variant": "v", **fields}
    )


def test_predictions_are_counted_by_class_and_model(metrics: WorkerMetrics, read: Read) -> None:
    prediction = Prediction(pred="scratches", prob_no_scratches=0.3, prob_scratches=0.7)
    for _ in range(3):
        metrics.finished(outcome(prediction=prediction))

    assert read("scratch_worker_predictions_total", pred="scratches", model="m@1") == 3
    assert read("scratch_worker_prob_scratches_bucket", model="m@1", le="0.65") == 0
    assert read("scratch_worker_prob_scratches_bucket", model="m@1", le="0.7") == 3


def test_verdicts_are_counted_with_the_reason_of_a_review(
    metrics: WorkerMetrics, read: Read
) -> None:
    prediction = Prediction(pred="scratches", prob_no_scratches=0.3, prob_scratches=0.7)
    for ruling in (
        Ruling(verdict="scratched", bound=""),
        Ruling(verdict="review", bound="", reason="unlike"),
        None,
    ):
        metrics.finished(outcome(prediction=prediction, ruling=ruling))

    name = "scratch_worker_verdicts_total"
    assert read(name, verdict="scratched", reason="", model="m@1") == 1
    assert read(name, verdict="review", reason="unlike", model="m@1") == 1


def test_the_state_of_the_latest_window_is_shown(metrics: WorkerMetrics, read: Read) -> None:
    assert read("scratch_worker_drift", state="camera") == 0
    report = DriftReport(
        worker="w", model="m@1", state="camera", windows=1, at=0, images=9, scratch_rate=0.25
    )

    metrics.window_closed(report, [Moved("sharpness", 0.8, 1e-9)])
    assert read("scratch_worker_drift", state="camera") == 1
    assert read("scratch_worker_drift_distance", statistic="sharpness") == 0.8
    assert read("scratch_worker_scratch_rate") == 0.25

    metrics.window_closed(report.model_copy(update={"state": "steady"}), [])
    assert read("scratch_worker_drift", state="camera") == 0
    assert read("scratch_worker_drift_windows_total", state="camera") == 1
    with pytest.raises(AssertionError):
        read("scratch_worker_drift_distance", statistic="sharpness")


def test_failures_are_counted_by_code(metrics: WorkerMetrics, read: Read) -> None:
    metrics.finished(outcome(failure=Failure(code="corrupt_image", message="cut")))

    assert read("scratch_worker_failures_total", code="corrupt_image", model="m@1") == 1


def test_stages_are_timed_in_seconds(metrics: WorkerMetrics, read: Read) -> None:
    failure = Failure(code="corrupt_image", message="cut")
    metrics.finished(outcome(failure=failure, timings_ms={"fetch": 2.0, "queue": 1500.0}))

    assert read("scratch_worker_stage_seconds_sum", stage="fetch") == pytest.approx(0.002)
    assert read("scratch_worker_stage_seconds_sum", stage="queue") == pytest.approx(1.5)


def test_batches_are_counted(metrics: WorkerMetrics, read: Read) -> None:
    metrics.batched(5)

    assert read("scratch_worker_batch_size_sum") == 5
    assert read("scratch_worker_batch_size_count") == 1


def test_another_model_takes_the_place_of_the_first(metrics: WorkerMetrics, read: Read) -> None:
    metrics.serves([("m@0", "v"), ("m@1", "v")])
    metrics.serves([("m@2", "v")])

    assert read("scratch_worker_model_info", model="m@2", variant="v") == 1
    with pytest.raises(AssertionError):
        read("scratch_worker_model_info", model="m@1", variant="v")


def test_callbacks_are_counted_and_those_that_wait(metrics: WorkerMetrics, read: Read) -> None:
    metrics.webhook("given_up")
    metrics.webhooks_waiting(lambda: 7)

    assert read("scratch_worker_webhooks_total", outcome="given_up") == 1
    assert read("scratch_worker_webhooks_total", outcome="sent") == 0
    assert read("scratch_worker_webhooks_waiting") == 7


def test_a_taken_port_is_named(metrics: WorkerMetrics) -> None:
    port = free_port()
    metrics.serve("127.0.0.1", port)

    with pytest.raises(OSError, match=f"SCRATCH_METRICS_PORT: cannot listen on 127.0.0.1:{port}"):
        WorkerMetrics().serve("127.0.0.1", port)
