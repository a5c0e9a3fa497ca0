"""Prometheus metrics of one worker process. Counting takes microseconds; a thread serves them."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    start_http_server,
)

from shared.contract import Outcome
from shared.drift import DriftReport
from shared.model.drift import Moved, State

_STAGE_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_PROBABILITIES = tuple(step / 20 for step in range(1, 21))


class WorkerMetrics:
    """A registry of its own, so that one process can hold several."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._models = Gauge(
            "scratch_worker_model_info",
            "1 for each model that this worker serves",
            ["model", "variant"],
            registry=registry,
        )
        self.in_flight = Gauge(
            "scratch_worker_tasks_in_flight", "Tasks in the hands of a thread", registry=registry
        )
        self.retries = Counter(
            "scratch_worker_retries", "Tasks tried again after Redis trouble", registry=registry
        )
        self._stages = Histogram(
            "scratch_worker_stage_seconds",
            "Where a task's time went; `queue` counts from its acceptance",
            ["stage"],
            buckets=_STAGE_S,
            registry=registry,
        )
        self._batches = Histogram(
            "scratch_worker_batch_size",
            "Images in one forward pass",
            buckets=_BATCH_SIZES,
            registry=registry,
        )
        self._predictions = Counter(
            "scratch_worker_predictions",
            "Predictions by class and model",
            ["pred", "model"],
            registry=registry,
        )
        self._verdicts = Counter(
            "scratch_worker_verdicts",
            "Verdicts by model; of a review with its reason",
            ["verdict", "reason", "model"],
            registry=registry,
        )
        self._failures = Counter(
            "scratch_worker_failures",
            "Failed inspections by code and model",
            ["code", "model"],
            registry=registry,
        )
        self._probabilities = Histogram(
            "scratch_worker_prob_scratches",
            "The probabilities that were answered",
            ["model"],
            buckets=_PROBABILITIES,
            registry=registry,
        )
        self._drift = Gauge(
            "scratch_worker_drift",
            "1 for the state of the latest window: steady, parts, material or camera",
            ["state"],
            registry=registry,
        )
        self._drift_windows = Counter(
            "scratch_worker_drift_windows",
            "Windows of photos that were held against the checkpoint's reference, by state",
            ["state"],
            registry=registry,
        )
        self._drift_distance = Gauge(
            "scratch_worker_drift_distance",
            "Of the statistics that moved: how far, 0 to 1 (Kolmogorov and Smirnov)",
            ["statistic"],
            registry=registry,
        )
        self._scratch_rate = Gauge(
            "scratch_worker_scratch_rate",
            "Share of the latest window that was answered scratches",
            registry=registry,
        )
        self._mails = Counter(
            "scratch_worker_alert_mails",
            "Alert mails by what became of them",
            ["outcome"],
            registry=registry,
        )
        self._alerts_waiting = Gauge(
            "scratch_worker_alerts_waiting",
            "Failures that no mail has named yet: within the window, over the hourly limit, "
            "or the mail server refuses",
            registry=registry,
        )
        self._webhooks = Counter(
            "scratch_worker_webhooks",
            "Callbacks that were sent or given up, and attempts that failed",
            ["outcome"],
            registry=registry,
        )
        self._webhooks_waiting = Gauge(
            "scratch_worker_webhooks_waiting",
            "Callbacks that wait for an answer or for their receiver; 0 where another worker sends",
            registry=registry,
        )
        self._archived = Counter(
            "scratch_worker_history_images",
            "Answered images by what became of them: `kept`, `skipped` for want of time, `failed`",
            ["outcome"],
            registry=registry,
        )
        for outcome in ("kept", "skipped", "failed"):
            self._archived.labels(outcome)
        for state in get_args(State):
            self._drift.labels(state)
            self._drift_windows.labels(state)
        for outcome in ("sent", "failed"):
            self._mails.labels(outcome)
        for outcome in ("sent", "failed", "given_up"):
            self._webhooks.labels(outcome)

    def serves(self, models: list[tuple[str, str]]) -> None:
        """Title and variant of each."""
        self._models.clear()
        for model, variant in models:
            self._models.labels(model, variant).set(1)

    def batched(self, images: int) -> None:
        """A forward pass begins."""
        self._batches.observe(images)

    def finished(self, outcome: Outcome) -> None:
        """Call when the result is stored: nobody waits for this any more."""
        for stage, milliseconds in outcome.timings_ms.items():
            self._stages.labels(stage).observe(milliseconds / 1e3)
        if outcome.prediction:
            self._predictions.labels(outcome.prediction.pred, outcome.model).inc()
            self._probabilities.labels(outcome.model).observe(outcome.prediction.prob_scratches)
            if outcome.ruling:
                found = outcome.ruling
                self._verdicts.labels(found.verdict, found.reason or "", outcome.model).inc()
        elif outcome.failure:
            self._failures.labels(outcome.failure.code, outcome.model).inc()

    def window_closed(self, report: DriftReport, moved: list[Moved]) -> None:
        for state in get_args(State):
            self._drift.labels(state).set(state == report.state)
        self._drift_windows.labels(report.state).inc()
        self._drift_distance.clear()
        for one in moved:
            self._drift_distance.labels(one.statistic).set(one.distance)
        self._scratch_rate.set(report.scratch_rate)

    def mailed(self, outcome: str) -> None:
        """`sent` or `failed`."""
        self._mails.labels(outcome).inc()

    def archived(self, outcome: str, images: int) -> None:
        """`kept`, `skipped` or `failed`."""
        self._archived.labels(outcome).inc(images)

    def alerts_waiting(self, count: Callable[[], float]) -> None:
        self._alerts_waiting.set_function(count)

    def webhook(self, outcome: str) -> None:
        """`sent`, `failed` or `given_up`."""
        self._webhooks.labels(outcome).inc()

    def webhooks_waiting(self, count: Callable[[], float]) -> None:
        self._webhooks_waiting.set_function(count)

    def serve(self, host: str, port: int) -> None:
        """Answers `GET /metrics` from a daemon thread. Raises OSError when the port is taken."""
        try:
            start_http_server(port, host, self._registry)
        except OSError as error:
            raise OSError(
                f"SCRATCH_METRICS_PORT: cannot listen on {host}:{port} ({error.strerror})"
            ) from error
