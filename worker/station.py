"""What one worker process owns, from the moment its model has proven itself until it ends."""

from __future__ import annotations

import logging
import os

from redis import Redis
from redis.exceptions import RedisError

from shared.contract import Failure, Outcome
from shared.errors import BadMessage, InternalError
from shared.model.inspector import open_inspector
from shared.model.preprocess import ImageLimits
from shared.settings import Settings
from shared.worklist import Worklist
from worker.alerts import open_alerts
from worker.batcher import Batcher
from worker.logbook import Logbook
from worker.metrics import WorkerMetrics
from worker.predictor import Predictor

logger = logging.getLogger(__name__)

#: seconds until a Redis that accepts but never answers counts as away
_REDIS_TIMEOUT_S = 5
#: `EX_SOFTWARE` of sysexits.h: the supervisor should start a new process
_EXIT_STUCK = 70


class Station:
    """Opens the model, then the batcher, the log and the alerts. Raises CheckpointError."""

    def __init__(self, settings: Settings) -> None:
        limits = ImageLimits(settings.image_max_pixels, settings.image_max_side)
        inspector = open_inspector(
            settings.ckpt,
            runtime=settings.runtime,
            precision=settings.precision,
            threads=settings.threads,
            limits=limits,
        )
        # Every batch size has its own compiled kernels; the first task must not pay for them.
        for size in range(1, settings.max_batch + 1):
            inspector.warm_up(size)
        self._worklist = Worklist(
            Redis.from_url(
                settings.redis_url,
                health_check_interval=25,
                socket_timeout=_REDIS_TIMEOUT_S,
                socket_connect_timeout=_REDIS_TIMEOUT_S,
            ),
            record_ttl_s=settings.record_ttl_s,
            result_ttl_s=settings.result_ttl_s,
        )
        self.metrics = WorkerMetrics()
        self._batcher = Batcher(max_batch=settings.max_batch, observe=self.metrics.batched)
        self._batch_timeout_s = settings.batch_timeout_s
        self.predictor = Predictor(
            inspector, self._batcher, self._worklist, max_deliveries=settings.max_deliveries
        )
        self._logbook = Logbook(
            settings.inference_log,
            max_bytes=settings.inference_log_max_bytes,
            backups=settings.inference_log_backups,
        )
        self._alerts = open_alerts(settings, self.metrics.mailed)
        self._batcher.start()
        if self._alerts:
            self._alerts.start()
            self.metrics.alerts_waiting(self._alerts.waiting)
        self.metrics.serves(self.predictor.model, self.predictor.variant)
        if settings.metrics_port:
            self.metrics.serve(settings.host, settings.metrics_port)
        logger.info("ready: %s on %s", self.predictor.model, self.predictor.variant)

    def record(self, task_id: str, result: object) -> None:
        """The result of a task is stored: tidy up, log, alert. `result` is what Celery stored."""
        outcome = self._outcome(task_id, result)
        self._logbook.write(outcome)
        self.metrics.finished(outcome)
        if outcome.failure and self._alerts:
            self._alerts.report(task_id, outcome.failure)
        try:
            self._worklist.finish(task_id)
        except RedisError:  # the upload and the record expire by themselves
            logger.warning("could not tidy up", extra={"task_id": task_id}, exc_info=True)

    def beat(self, name: str) -> None:
        """Says that this worker is ready; ends the process when the model is stuck."""
        if not self._batcher.alive or self._batcher.busy_s() > self._batch_timeout_s:
            logger.critical("the model does not answer: this worker ends")
            os._exit(_EXIT_STUCK)
        try:
            self._worklist.beat(
                name, model=self.predictor.model, variant=self.predictor.variant, pid=os.getpid()
            )
        except RedisError as error:
            logger.warning("no heartbeat: %s", error)

    def close(self, name: str) -> None:
        """Answers what was taken up, writes what waits, says goodbye."""
        self._batcher.close()
        self._logbook.close()
        if self._alerts:
            self._alerts.close()
        try:
            self._worklist.leave(name)
        except RedisError as error:
            logger.warning("left without a word: %s", error)

    def _outcome(self, task_id: str, result: object) -> Outcome:
        try:
            return Outcome.decode(result)
        except BadMessage:  # an exception that Celery stored
            failure = Failure.of(InternalError())
            return Outcome(
                id=task_id,
                sha256="",
                failure=failure,
                model=self.predictor.model,
                variant=self.predictor.variant,
            )
