"""The app factory: `python -m api` serves what it makes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from importlib.metadata import version

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from api import errors
from api.fairness import redis_limiter
from api.feedback import FeedbackService
from api.headers import Guarded
from api.identity import Gate, Identified
from api.links import LinkService
from api.metrics import Measured, Metrics
from api.results import SWEEP_S, ResultWaiter
from api.routes import docs, events, health, page, predict, say, tasks
from api.routes import feedback as feedback_routes
from api.sender import CelerySender, Sender
from api.service import InspectionService
from shared.broker import celery_app, queue_entry
from shared.history.store import HistoryStore
from shared.intake import Intake
from shared.logs import configure_logs
from shared.settings import Settings, get_settings
from shared.tracing import start_tracing

#: seconds until a Redis that accepts but never answers counts as away
_REDIS_TIMEOUT_S = 5
#: more requests at a time wait for a connection; redis-py's own pool refuses the hundred-and-first
_REDIS_CONNECTIONS = 64
#: paths that probes and scrapers ask for all the time
_NOT_TRACED = {"/healthz", "/readyz", "/metrics"}
#: what follows is a credential, and no collector's
_CREDENTIALS = "/say/"


def create_app(
    settings: Settings | None = None,
    *,
    redis: Redis | None = None,
    sender: Sender | None = None,
    sweep_s: float = SWEEP_S,
) -> FastAPI:
    """`redis` and `sender` are for tests; by default both follow the settings. There is a sender
    where the queue is not in the Redis that keeps the uploads.

    Raises AccessError.
    """
    settings = settings or get_settings()
    if redis is None:
        configure_logs(settings.log_level)
        start_tracing(settings, "scratch-api")
        redis = _client(settings)
    results = ResultWaiter(redis, sweep_s=sweep_s)
    celery = celery_app(settings, results=False)
    if settings.broker_url and sender is None:
        sender = CelerySender(celery)
    intake = Intake(
        redis,
        record_ttl_s=settings.record_ttl_s,
        result_ttl_s=settings.result_ttl_s,
        queue_entry=None if sender else partial(queue_entry, celery),
    )
    history = HistoryStore(settings)
    app = FastAPI(
        title="Scratch detector",
        description="Tells from a photo whether a surface is scratched.",
        version=version("scratch-detector"),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan(redis, results, sender, history),
        telemetry=_telemetry(settings),
    )
    app.state.settings = settings
    app.state.gate = Gate(settings)
    app.state.limiter = redis_limiter(limit, redis) if (limit := settings.upload_limit) else None
    app.state.metrics = Metrics(lambda: results.waiting, queue_limit=settings.queue_limit)
    app.state.service = service = InspectionService(settings, intake, sender, results)
    feedback = FeedbackService(history, service, redis, app.state.metrics.told)
    app.state.feedback = feedback
    app.state.links = LinkService(redis, feedback)
    app.add_middleware(Measured, metrics=app.state.metrics)
    app.add_middleware(Guarded)
    for module in (predict, tasks, events, feedback_routes):
        app.include_router(
            module.router,
            dependencies=[Identified],
            responses=errors.problem_responses(401),
        )
    for module in (health, docs, page, say):
        app.include_router(module.router)
    errors.install(app)
    return app


def _telemetry(settings: Settings) -> TelemetryConfig:
    """FastAPI's own span for each request; metrics and logs are ours."""
    return {
        "tracing": bool(settings.otel_endpoint),
        "operation_spans": False,
        "metrics": False,
        "logs": False,
        "auto_configure": False,
        "exclude": lambda scope: (
            scope["path"] in _NOT_TRACED or scope["path"].startswith(_CREDENTIALS)
        ),
    }


def _client(settings: Settings) -> Redis:
    pool = BlockingConnectionPool.from_url(
        settings.redis_url,
        max_connections=_REDIS_CONNECTIONS,
        timeout=_REDIS_TIMEOUT_S,
        socket_timeout=_REDIS_TIMEOUT_S,
        socket_connect_timeout=_REDIS_TIMEOUT_S,
        # By default redis-py tries for many seconds while requests pile up; a client can try again.
        retry=Retry(NoBackoff(), 1),
    )
    return Redis.from_pool(pool)


def _lifespan(
    redis: Redis, results: ResultWaiter, sender: Sender | None, history: HistoryStore
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with results:
            yield
        if sender:
            sender.close()
        history.close()
        await redis.aclose()

    return lifespan
