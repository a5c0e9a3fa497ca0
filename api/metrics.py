"""Prometheus metrics of one app, and the pure ASGI middleware that counts its requests.

No BaseHTTPMiddleware: behind it, a client's disconnect is never seen.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.service import Load

_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """A registry of its own, so that one process can hold several apps."""

    def __init__(self, waiting: Callable[[], float], *, queue_limit: int) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "scratch_http_requests",
            "Requests by route template, method and status",
            ["route", "method", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "scratch_http_request_seconds",
            "Time to answer, waiting for results included",
            ["route", "method"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._refusals = Counter(
            "scratch_refusals", "Problems answered, by code", ["code"], registry=self._registry
        )
        self._feedback = Counter(
            "scratch_feedback",
            "Words of people about answers: `right`, `wrong`, or `taken_back`",
            ["said"],
            registry=self._registry,
        )
        for said in ("right", "wrong", "taken_back"):
            self._feedback.labels(said)
        self._in_flight = self._gauge("scratch_http_requests_in_flight", "Requests being answered")
        self._redis_up = self._gauge("scratch_redis_up", "1 while Redis answers this api")
        self._open_tasks = self._gauge("scratch_open_tasks", "Accepted and unfinished tasks")
        self._queued = self._gauge("scratch_queue_depth", "Tasks that no worker has taken up")
        self._oldest = self._gauge(
            "scratch_oldest_task_seconds", "Age of the oldest accepted and unfinished task"
        )
        self._gauge("scratch_queue_limit", "Open tasks beyond which uploads are refused").set(
            queue_limit
        )
        self._workers = self._gauge("scratch_ready_workers", "Workers with a loaded model")
        self._gauge("scratch_waiting_clients", "Requests waiting for a result").set_function(
            waiting
        )
        ProcessCollector(registry=self._registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, registry=self._registry)

    def refused(self, code: str) -> None:
        self._refusals.labels(code).inc()

    def told(self, said: str) -> None:
        """`right`, `wrong` or `taken_back`."""
        self._feedback.labels(said).inc()

    def began(self) -> None:
        self._in_flight.inc()

    def answered(self, scope: Scope, status: int, seconds: float) -> None:
        self._in_flight.dec()
        route = getattr(scope.get("route"), "path", "unmatched")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route, method).observe(seconds)

    def text(self, load: Load) -> bytes:
        self._redis_up.set(load.redis_up)
        self._open_tasks.set(load.open_tasks)
        self._queued.set(load.queued)
        self._oldest.set(load.oldest_task_s)
        self._workers.set(load.ready_workers)
        return generate_latest(self._registry)


class Measured:
    """Counts and times every answer."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        self._metrics.began()
        status = 500  # what the client gets when no answer starts

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            self._metrics.answered(scope, status, time.perf_counter() - began)
