"""One job to one outcome: fetch, decode, infer. Does not know Celery."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from shared.contract import Explanation, Failure, InspectJob, Outcome, Prediction, Ruling
from shared.errors import (
    ImageError,
    InferenceFailed,
    InternalError,
    PoisonImage,
    ServiceError,
    TaskTimedOut,
    UploadLost,
)
from shared.model import ruling as rulings
from shared.model.embedding import packed
from shared.model.evidence import Floats
from shared.model.heatmap import Heatmap
from shared.model.inspector import Inspector, Verdict
from shared.worklist import Claim, Worklist
from worker.batcher import Batcher
from worker.custody import Custody
from worker.drift import Sample
from worker.lineup import Lineup
from worker.referee import Sighting
from worker.seen import Seen

logger = logging.getLogger(__name__)


@dataclass
class _Stopwatch:
    """Milliseconds by stage."""

    timings_ms: dict[str, float] = field(default_factory=dict)
    _last: float = field(default_factory=time.perf_counter)

    def start(self) -> None:
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.timings_ms[stage] = round((now - self._last) * 1e3, 3)
        self._last = now


@dataclass(frozen=True)
class _Found:
    verdict: Verdict
    ruling: rulings.Ruling
    features: Floats | None
    heatmap: Heatmap | None = None

    def kept(self, model: Inspector) -> dict[str, Any]:
        """Of the features, for the history: see the columns of these names."""
        if self.features is None:
            return {}
        return {
            "embedding": packed(self.features),
            "embedding_space": model.embedding_space,
        }


class Predictor:
    """Called from many task threads at once."""

    def __init__(
        self,
        lineup: Callable[[], Lineup],
        batcher: Batcher,
        worklist: Worklist,
        *,
        max_deliveries: int,
        note: Callable[[Sighting], None] = lambda _: None,
        see: Callable[[Seen], None] | None = None,
        watch: Callable[[Sample], None] = lambda _: None,
    ) -> None:
        """`note` is told what a trial learns, `see` what was judged, `watch` what it was like; all
        must return at once."""
        self._watch = watch
        self._note = note
        self._see = see
        self._lineup = lineup
        self._batcher = batcher
        self._worklist = worklist
        self._custody = Custody(worklist)
        self._max_deliveries = max_deliveries

    def run(self, job: InspectJob) -> Outcome | None:
        """Every failure of the image or the model is an outcome; only Redis errors are raised.

        None when the task has ended already or is unknown, so that there is nothing to answer.
        """
        lineup = self._lineup()  # one, and one model, for the whole task
        model = lineup.answering(job)
        watch = _Stopwatch()
        watch.timings_ms["queue"] = round(max(0.0, time.time() - job.accepted_at) * 1e3, 3)
        try:
            with self._custody.taken(job) as claim:
                if not claim.open:
                    return None
                image = self._image(job, claim)
                watch.lap("fetch")
                found = self._infer(lineup, model, image, job, watch)
        except ServiceError as error:
            return _failed(model, job.id, job.sha256, error, watch.timings_ms)
        if self._see:
            self._see(
                Seen(
                    job=job,
                    image=image,
                    threshold=model.manifest.threshold,
                    verdict=found.ruling.verdict,
                    **found.kept(model),
                )
            )
        explanation = self._explained(job.id, found.heatmap) if found.heatmap else None
        return Outcome(
            id=job.id,
            sha256=job.sha256,
            prediction=Prediction.model_validate(vars(found.verdict)),
            ruling=Ruling.model_validate(vars(found.ruling)) if job.ruling else None,
            explanation=explanation,
            model=model.title,
            variant=model.runtime.variant,
            timings_ms=watch.timings_ms,
        )

    def failed(self, task_id: str, error: ServiceError) -> Outcome:
        """Of a task that no model has seen."""
        return _failed(self._lineup().champion, task_id, "", error, {})

    def _image(self, job: InspectJob, claim: Claim) -> bytes:
        if time.time() > job.deadline_at:
            raise TaskTimedOut
        if claim.deliveries > self._max_deliveries:
            raise PoisonImage
        if claim.image is None:
            raise UploadLost
        return claim.image

    def _explained(self, task_id: str, heatmap: Heatmap) -> Explanation:
        self._worklist.keep_heatmap(task_id, heatmap.png())
        return Explanation(hottest=heatmap.hottest, box=heatmap.box)

    def _infer(
        self,
        lineup: Lineup,
        model: Inspector,
        image: bytes,
        job: InspectJob,
        watch: _Stopwatch,
    ) -> _Found:
        forward = lineup.forward(model, job)
        try:
            with self._batcher.expecting():
                views = model.preprocess(image)
            watch.lap("decode")
            answer = self._batcher.infer(views, forward, deadline_at=job.deadline_at)
            watch.timings_ms["wait"] = round(answer.wait_ms, 3)
            watch.timings_ms["forward"] = round(answer.forward_ms, 3)
            own, other = answer.logits, None
            if own.ndim == 2:  # a pass with two heads, see `SharedTower`
                own, other = own
            verdict = model.postprocess(own)
            ms = watch.timings_ms["decode"] + answer.forward_ms
            sighting = lineup.sighting(job, model, verdict, ms=ms, image=image, other=other)
            if sighting:
                self._note(sighting)
            place = model.place(answer.features)
            found = _Found(verdict, model.rule(verdict, place), answer.features)
            if place and model is lineup.champion:
                self._watch(Sample(model, views, image, verdict, place))
            if answer.trace is None:
                return found
            watch.start()
            heatmap = model.locate(answer.trace)
            watch.lap("explain")
            return replace(found, heatmap=heatmap)
        except InferenceFailed:
            logger.exception("inference failed", extra={"task_id": job.id})
            raise
        except (ImageError, TaskTimedOut):
            raise
        except Exception as error:
            logger.exception("unexpected error", extra={"task_id": job.id})
            raise InternalError from error


def _failed(
    inspector: Inspector,
    task_id: str,
    sha256: str,
    error: ServiceError,
    timings_ms: dict[str, float],
) -> Outcome:
    return Outcome(
        id=task_id,
        sha256=sha256,
        failure=Failure.of(error),
        model=inspector.title,
        variant=inspector.runtime.variant,
        timings_ms=timings_ms,
    )
