"""The models of one worker that serve at a moment: who answers a task, and what a trial learns."""

from __future__ import annotations

from dataclasses import dataclass

from shared.contract import InspectJob
from shared.model.inspector import Inspector, Verdict
from shared.model.runtime import Logits
from shared.model.shared_tower import SharedTower
from shared.rollout import Trial
from shared.trials import Ballot
from worker.batcher import Forward
from worker.referee import Sighting, finding


@dataclass(frozen=True)
class Lineup:
    """Replaced as a whole, never changed: a task takes one and keeps it to its end."""

    champion: Inspector
    #: both or none
    trial: Trial | None = None
    challenger: Inspector | None = None
    #: of a shadow that costs no pass of its own
    tower: SharedTower | None = None

    def answering(self, job: InspectJob) -> Inspector:
        """The same for the same client, or else for the same image."""
        key = job.client or job.sha256
        if self.trial and self.challenger and self.trial.arm(key) == "challenger":
            return self.challenger
        return self.champion

    def forward(self, model: Inspector, job: InspectJob) -> Forward:
        """The way of a task through the batcher."""
        if job.explain:
            return model.trace
        return self.tower.embed if self.tower and model is self.champion else model.embed

    def sighting(
        self,
        job: InspectJob,
        model: Inspector,
        verdict: Verdict,
        *,
        ms: float,
        image: bytes,
        other: Logits | None,
    ) -> Sighting | None:
        """What `model`'s verdict tells the trial, if there is one.

        `other` [2] is of the challenger, where it saw the same pass.
        """
        if not (self.trial and self.challenger):
            return None
        found, trial_id = finding(verdict, ms), self.trial.id
        if model is self.challenger:
            return Sighting(trial_id=trial_id, ballot=Ballot(task_id=job.id, challenger=found))
        ballot = Ballot(task_id=job.id, champion=found)
        if not self.trial.shadow:
            return Sighting(trial_id=trial_id, ballot=ballot)
        if other is None:
            return Sighting(
                trial_id=trial_id, ballot=ballot, challenger=self.challenger, image=image
            )
        try:
            seen = finding(self.challenger.postprocess(other), None)
        except ValueError:  # not finite
            return Sighting(trial_id=trial_id, ballot=ballot, failed=True)
        return Sighting(trial_id=trial_id, ballot=ballot.model_copy(update={"challenger": seen}))
