"""The worker's Celery app and its signals: `celery --app worker.app worker --pool threads`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from celery import Celery, signals

from shared.broker import celery_app
from shared.contract import Outcome
from shared.errors import CheckpointError
from shared.logs import configure_logs
from shared.settings import Settings, get_settings
from shared.tracing import start_tracing
from worker.events import ThreadSafeEvents
from worker.memory import keep_freed_memory
from worker.predictor import Predictor
from worker.results import SCHEME
from worker.station import Station
from worker.tasks import register

logger = logging.getLogger(__name__)

Handler = Callable[..., None]


def _on(signal: Any) -> Callable[[Handler], Handler]:
    """Connects a handler for good: Celery keeps weak references, and closures would vanish."""

    def connect(handler: Handler) -> Handler:
        signal.connect(handler, weak=False)
        return handler

    return connect


def create_app(settings: Settings) -> Celery:
    """An app whose station opens on `worker_init`: the threads pool never forks."""
    app = celery_app(settings, results=True)
    app.conf.update(
        worker_pool="threads",
        worker_consumer="worker.consumer:CarefulConsumer",
        result_backend=SCHEME + settings.redis_url,
    )
    app.events_cls = ThreadSafeEvents
    stations: list[Station] = []

    def predictor() -> Predictor:
        return stations[0].predictor

    @_on(signals.setup_logging)
    def on_setup_logging(**_: Any) -> None:
        configure_logs(settings.log_level)

    @_on(signals.worker_init)
    def on_worker_init(sender: Any, **_: Any) -> None:
        keep_freed_memory()
        configure_logs(settings.log_level)
        start_tracing(settings, "scratch-worker")
        try:
            stations.append(Station(settings))
        except CheckpointError as error:
            logger.critical("this worker cannot start: %s", error)
            raise SystemExit(1) from error
        except Exception as error:
            # Celery would swallow it, and the worker would live without a model.
            logger.critical("this worker cannot start", exc_info=True)
            raise SystemExit(1) from error
        sender.concurrency = stations[0].concurrency

    @_on(signals.heartbeat_sent)
    def on_heartbeat(sender: Any, **_: Any) -> None:
        stations[0].beat(sender.eventer.hostname)

    @_on(signals.task_success)  # sent when the result is stored; `task_postrun` is, if it is not
    def on_task_success(result: Outcome, **_: Any) -> None:
        if app.backend.came_first:
            stations[0].record(result)

    @_on(signals.worker_shutdown)
    def on_worker_shutdown(sender: Any, **_: Any) -> None:
        stations[0].close(sender.hostname)

    _count_tasks(lambda: stations[0])
    register(app, predictor)
    return app


def _count_tasks(station: Callable[[], Station]) -> None:
    @_on(signals.task_prerun)
    def on_task_prerun(**_: Any) -> None:
        station().metrics.in_flight.inc()
        station().drain.begin()

    @_on(signals.task_postrun)
    def on_task_postrun(**_: Any) -> None:
        station().metrics.in_flight.dec()
        station().drain.end()

    @_on(signals.task_retry)
    def on_task_retry(**_: Any) -> None:
        station().metrics.retries.inc()


app = create_app(get_settings())
