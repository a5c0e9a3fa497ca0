"""The models of one worker that serve at a moment, and which of them answers a task."""

from __future__ import annotations

from dataclasses import dataclass

from shared.contract import InspectJob
from shared.model.inspector import Inspector
from shared.rollout import Trial


@dataclass(frozen=True)
class Lineup:
    """Replaced as a whole, never changed: a task takes one and keeps it to its end."""

    champion: Inspector
    #: both or none
    trial: Trial | None = None
    challenger: Inspector | None = None

    def answering(self, job: InspectJob) -> Inspector:
        """The same for the same client, or else for the same image."""
        if (
            self.trial
            and self.challenger
            and self.trial.arm(job.client or job.sha256) != "champion"
        ):
            return self.challenger
        return self.champion
