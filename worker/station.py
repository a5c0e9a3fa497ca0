"""What one worker process owns, from the moment its model has proven itself until it ends."""

from __future__ import annotations

import logging
import os
from functools import partial
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from shared.broker import celery_app, send
from shared.contract import Outcome
from shared.drift import DriftReport, DriftStore
from shared.model.drift import Moved
from shared.rollout import RolloutStore
from shared.settings import Settings
from shared.trials import TrialStore
from shared.worklist import Worklist
from worker.alerts import open_alerts
from worker.archive import open_archive
from worker.batcher import Batcher
from worker.deployer import Deployer
from worker.drain import DrainRate
from worker.drift import DriftMonitor
from worker.lineup import Lineup
from worker.logbook import Logbook
from worker.metrics import WorkerMetrics
from worker.opener import Opener
from worker.predictor import Predictor
from worker.referee import Referee
from worker.sweeper import Sweeper
from worker.webhooks import open_webhooks

logger = logging.getLogger(__name__)

#: seconds until a Redis that accepts but never answers counts as away
_REDIS_TIMEOUT_S = 5
#: of an upload at once; redis-py's own 64 KB are many calls for a phone's photo
_READ_BYTES = 2**20
#: more only wait for the interpreter
_THREADS = 32
#: `EX_SOFTWARE` of sysexits.h: the supervisor should start a new process
_EXIT_STUCK = 70


class Station:
    """Opens the model, then the batcher, the log and the alerts. Raises CheckpointError."""

    def __init__(self, settings: Settings) -> None:
        redis = Redis.from_url(
            settings.redis_url,
            health_check_interval=25,
            socket_read_size=_READ_BYTES,
            socket_timeout=_REDIS_TIMEOUT_S,
            socket_connect_timeout=_REDIS_TIMEOUT_S,
        )
        self.metrics = WorkerMetrics()
        self.drain = DrainRate()
        #: as Celery knows this worker, from its first heartbeat on
        self._name = ""
        self._closing = False
        self._deployer = Deployer(Opener(settings), RolloutStore(redis), changed=self._show_models)
        self._deployer.open_first()
        self._worklist = Worklist(redis, record_ttl_s=settings.record_ttl_s)
        runtime = self._deployer.lineup.champion.runtime
        batch = settings.max_batch or runtime.batch
        self._batcher = Batcher(
            max_batch=batch, passes=runtime.passes, observe=self.metrics.batched
        )
        #: task threads; those that keep the model busy are a batch for each pass, and the next one
        self.concurrency = settings.concurrency or min(_THREADS, 2 * runtime.passes * batch)
        self._batch_timeout_s = settings.batch_timeout_s
        self._referee = Referee(self._batcher, TrialStore(redis))
        self._archive = open_archive(settings, redis, self.metrics.archived)
        self._drift = self._open_drift(settings, redis)
        self.predictor = Predictor(
            lambda: self._deployer.lineup,
            self._batcher,
            self._worklist,
            max_deliveries=settings.max_deliveries,
            note=self._referee.note,
            see=self._archive.see if self._archive else None,
            watch=self._drift.note if self._drift else lambda _: None,
        )
        self._logbook = Logbook(
            settings.inference_log,
            max_bytes=settings.inference_log_max_bytes,
            backups=settings.inference_log_backups,
        )
        self._alerts = open_alerts(settings, redis, self.metrics.mailed)
        self._sweeper = Sweeper(
            redis,
            partial(send, celery_app(settings, results=False)),
            self._tell,
            resend_after_s=settings.resend_after_s,
            result_ttl_s=settings.result_ttl_s,
        )
        self._deployer.start()
        self._sweeper.start()
        self._referee.start()
        if self._archive:
            self._archive.start()
        if self._drift:
            self._drift.start()
        if self._alerts:
            self._alerts.start()
            self.metrics.alerts_waiting(self._alerts.waiting)
        self._webhooks = open_webhooks(settings, self.metrics.webhook)
        if self._webhooks:
            self._webhooks.start()
            self.metrics.webhooks_waiting(self._webhooks.waiting)
        if settings.metrics_port:
            self.metrics.serve(settings.host, settings.metrics_port)

    def _open_drift(self, settings: Settings, redis: Redis) -> DriftMonitor | None:
        if not settings.drift_window:
            return None
        return DriftMonitor(
            DriftStore(redis),
            self._window_closed,
            name=lambda: self._name,
            window=settings.drift_window,
            window_s=settings.drift_window_s,
        )

    def _window_closed(self, report: DriftReport, moved: list[Moved]) -> None:
        self.metrics.window_closed(report, moved)
        if self._alerts and report.state != "steady" and report.windows == 1:
            self._alerts.warn(f"drift_{report.state}", str(report))

    def record(self, outcome: Outcome) -> None:
        """Logs and alerts, when the first answer of a task is stored."""
        self._tell(outcome)
        if self._archive:
            self._archive.answered(outcome)

    def _tell(self, outcome: Outcome) -> None:
        self._logbook.write(outcome)
        self.metrics.finished(outcome)
        if self._alerts:
            self._alerts.tell(outcome)

    def beat(self, name: str) -> None:
        """Says that this worker is ready; ends the process when the model is stuck."""
        if self._closing:
            return
        self._name = name
        if self._batcher.busy_s() > self._batch_timeout_s:
            logger.critical("the model does not answer: this worker ends")
            self._logbook.close()
            os._exit(_EXIT_STUCK)
        try:
            self._worklist.beat(name, pid=os.getpid(), per_s=self.drain.per_s(), **self._serving())
        except RedisError as error:
            logger.warning("no heartbeat: %s", error)

    def close(self, name: str) -> None:
        """Answers what was taken up, writes what waits, says goodbye."""
        self._closing = True
        self._deployer.close()
        self._sweeper.close()
        self._referee.close()
        self._batcher.close()
        self._logbook.close()
        if self._archive:
            self._archive.close()
        if self._drift:
            self._drift.close()
        if self._alerts:
            self._alerts.close()
        if self._webhooks:
            self._webhooks.close()
        try:
            self._worklist.leave(name)
        except RedisError as error:
            logger.warning("left without a word: %s", error)

    def _show_models(self, lineup: Lineup) -> None:
        models = [i for i in (lineup.champion, lineup.challenger) if i]
        self.metrics.serves([(i.manifest.title, i.runtime.variant) for i in models])
        if self._name:  # who promotes is waiting to hear it
            self.beat(self._name)

    def _serving(self) -> dict[str, Any]:
        standing = self._deployer.standing  # first: the lineup is at least as new
        lineup = self._deployer.lineup
        return {
            "model": lineup.champion.manifest.title,
            "variant": lineup.champion.runtime.variant,
            "challenger": lineup.challenger.manifest.title if lineup.challenger else None,
            "rollout": standing.number,
            "behind": standing.behind,
        }
