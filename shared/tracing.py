"""OpenTelemetry: one trace from a request through the queue to the forward pass.

On when `OTEL_EXPORTER_OTLP_ENDPOINT` is set; the SDK reads its other `OTEL_*` variables itself.
Until `start_tracing`, or who instruments this process, has set a provider, there are no spans.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import propagate, trace
from opentelemetry.trace import SpanKind

from shared.contract import Outcome
from shared.settings import Settings

logger = logging.getLogger(__name__)

_tracer = trace.get_tracer("scratch-detector")


def start_tracing(settings: Settings, service: str) -> None:
    """Sets this process's provider. `service` is its name unless `OTEL_SERVICE_NAME` says other."""
    if not settings.otel_endpoint:
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        logger.error("no traces: install the extra `otel` (pip install 'scratch-detector[otel]')")
        return
    named = OTELResourceDetector().detect().attributes
    provider = TracerProvider(resource=Resource.create({SERVICE_NAME: service, **named}))
    exporter = OTLPSpanExporter(f"{settings.otel_endpoint.rstrip('/')}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)


def _traced() -> bool:
    """Whether anybody has set a provider: empty spans cost a twentieth of an upload's time."""
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


@contextmanager
def sending(task: str, task_id: str) -> Iterator[dict[str, str]]:
    """A span around a send; yields the message headers that carry the trace across the queue."""
    if not _traced():
        yield {}
        return
    attributes = {"messaging.system": "celery", "messaging.message.id": task_id}
    with _tracer.start_as_current_span(
        f"send {task}", kind=SpanKind.PRODUCER, attributes=attributes
    ):
        headers: dict[str, str] = {}
        propagate.inject(headers)
        yield headers


@contextmanager
def processing(task: str, task_id: str, headers: Mapping[str, object]) -> Iterator[None]:
    """A span around a task, in the trace that its message's headers name."""
    if not _traced():
        yield
        return
    carrier = {key: value for key, value in headers.items() if isinstance(value, str)}
    with _tracer.start_as_current_span(
        f"process {task}",
        context=propagate.extract(carrier),
        kind=SpanKind.CONSUMER,
        attributes={"messaging.system": "celery", "messaging.message.id": task_id},
    ):
        yield


def trace_outcome(outcome: Outcome) -> None:
    """Names the outcome on the current span and gives it a child for each stage, in their order.

    The stages were timed one after another and end about now, so their times follow from that.
    """
    span = trace.get_current_span()
    if not span.is_recording():
        return
    result = outcome.prediction.pred if outcome.prediction else ""
    code = outcome.failure.code if outcome.failure else ""
    span.set_attributes(
        {"scratch.model": outcome.model, "scratch.pred": result, "error.type": code}
    )
    end = time.time_ns()
    for stage, milliseconds in reversed(outcome.timings_ms.items()):
        start = end - int(milliseconds * 1e6)
        _tracer.start_span(stage, start_time=start).end(end)
        end = start
