"""For supervisors, load balancers and Prometheus."""

from __future__ import annotations

import math

from fastapi import APIRouter
from starlette.responses import Response

from api.deps import MetricsDep, Service, SettingsDep
from api.errors import problem_responses
from api.identity import Identified
from api.schemas import Alive, Ready, ReadyWorker, ServiceState
from shared.errors import BrokerUnavailable

router = APIRouter(tags=["operations"])


@router.get("/healthz")
async def healthz() -> Alive:
    """This process lives; whether it can do its work, `/readyz` says."""
    return Alive()


@router.get("/readyz", responses=problem_responses(503))
async def readyz(service: Service) -> Ready:
    """Redis answers, and so does a worker whose model has proven itself."""
    workers = await service.readiness()
    return Ready(workers=[ReadyWorker.model_validate(vars(worker)) for worker in workers])


@router.get("/status", dependencies=[Identified], responses=problem_responses(401, 503))
async def status(service: Service, settings: SettingsDep) -> ServiceState:
    """What the page shows of queue and workers."""
    workers, load = await service.ready_workers(), await service.load()
    if math.isnan(load.open_tasks):
        raise BrokerUnavailable
    return ServiceState(
        workers=[ReadyWorker.model_validate(vars(worker)) for worker in workers],
        open_tasks=int(load.open_tasks),
        queue_limit=settings.queue_limit,
        flower_port=settings.flower_port,
    )


@router.get(
    "/metrics",
    response_class=Response,
    dependencies=[Identified],
    responses=problem_responses(401),
)
async def metrics(service: Service, metrics: MetricsDep) -> Response:
    """Prometheus text; what Redis cannot be asked for is NaN."""
    return Response(
        metrics.text(await service.load()), media_type="text/plain; version=0.0.4; charset=utf-8"
    )
