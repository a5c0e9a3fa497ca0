"""What a task thread has judged, on its way to the history."""

from __future__ import annotations

from dataclasses import dataclass

from shared.contract import InspectJob


@dataclass(frozen=True, kw_only=True)
class Seen:
    """An image that was judged and is not answered yet; see `shared.history.store.Answered`."""

    job: InspectJob
    image: bytes
    threshold: float
    verdict: str | None = None
    embedding: bytes | None = None
    embedding_space: str | None = None
