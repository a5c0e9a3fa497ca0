"""Which models should serve, as the operator says: one small JSON document in Redis.

scratch:rollout   Rollout; missing: every worker serves its own SCRATCH_CKPT

A model is named by its title, `name@revision`: the folder under each worker's SCRATCH_CKPTS, and a
digest of its manifest, which holds the checksums of all its files.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from redis import Redis
from redis.exceptions import WatchError

from shared.errors import BadMessage

ROLLOUT_KEY = "scratch:rollout"
#: former champions that `--back` can return to
_REMEMBERED = 10

Title = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}@[0-9a-f]{12}$")]
Arm = Literal["champion", "challenger"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _trial_id() -> str:
    return secrets.token_hex(4)


class Trial(_Frozen):
    """A challenger beside the champion: it answers a share of the clients, or only watches."""

    #: salts the assignment, so that each trial draws anew
    id: str = Field(default_factory=_trial_id, pattern=r"^[0-9a-f]{8}$")
    challenger: Title
    #: of clients, who get the challenger's answers; 0 with `shadow`
    share: float = Field(0, ge=0, lt=1)
    #: the challenger judges all images, and the champion answers them all
    shadow: bool = False
    #: unix time, seconds
    started_at: float = Field(default_factory=time.time)

    @model_validator(mode="after")
    def _one_kind(self) -> Trial:
        if self.shadow == bool(self.share):
            raise ValueError("a trial has either a share of the clients or is a shadow")
        return self

    def arm(self, key: str) -> Arm:
        """Who answers for this key: always the same for the same key and trial."""
        digest = hashlib.sha256(f"{self.id}:{key}".encode()).digest()
        place = int.from_bytes(digest[:7]) / 2**56  # in [0, 1), exact in a float
        return "challenger" if place < self.share else "champion"


class Rollout(_Frozen):
    """`champion` None stands for each worker's own SCRATCH_CKPT."""

    #: raised by one with each change; workers report the one they follow
    number: int = 0
    champion: Title | None = None
    #: former champions, the latest last
    history: tuple[Title | None, ...] = ()
    trial: Trial | None = None

    def promoted(self, title: str) -> Rollout:
        """A trial ends with the champion that it was held against."""
        if title == self.champion:
            return self._changed(trial=None)
        history = (*self.history, self.champion)[-_REMEMBERED:]
        return self._changed(champion=title, history=history, trial=None)

    def rolled_back(self) -> Rollout:
        """Raises ValueError when there is no former champion."""
        if not self.history:
            raise ValueError("there is no former champion to go back to")
        return self._changed(champion=self.history[-1], history=self.history[:-1], trial=None)

    def trying(self, trial: Trial | None) -> Rollout:
        return self._changed(trial=trial)

    def _changed(self, **fields: Any) -> Rollout:
        return self.model_validate({**dict(self), **fields, "number": self.number + 1})


class RolloutStore:
    """Synchronous, for workers and the command line."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def read(self) -> Rollout:
        """Raises BadMessage when another version wrote what this one cannot read."""
        stored: Any = self._redis.get(ROLLOUT_KEY)
        return _decode(stored)

    def change(self, edit: Callable[[Rollout], Rollout]) -> Rollout:
        """Applies `edit` to what is there, whoever else writes meanwhile. Raises BadMessage."""
        with self._redis.pipeline(transaction=True) as pipe:
            while True:
                pipe.watch(ROLLOUT_KEY)  # type: ignore[no-untyped-call]
                changed = edit(_decode(pipe.get(ROLLOUT_KEY)))
                pipe.multi()
                pipe.set(ROLLOUT_KEY, changed.model_dump_json())
                try:
                    pipe.execute()
                except WatchError:
                    continue
                return changed


def _decode(stored: Any) -> Rollout:
    if stored is None:
        return Rollout()
    try:
        return Rollout.model_validate_json(stored)
    except ValidationError as error:
        raise BadMessage(f"{ROLLOUT_KEY} in Redis cannot be read: {error}") from error
