"""Follows the rollout in Redis: opens new models beside those that serve, then changes over.

Serving never waits for it. A model that cannot be opened, or does not prove itself on this machine,
changes nothing: what served goes on, the heartbeat says why, and it is tried again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from redis.exceptions import RedisError

from shared.errors import BadMessage, CheckpointError
from shared.model.inspector import Inspector
from shared.model.shared_tower import SharedTower
from shared.rollout import Rollout, RolloutStore, Trial
from worker.lineup import Lineup

logger = logging.getLogger(__name__)

#: seconds between two looks at Redis
_POLL_S = 1.0
#: seconds until what failed is tried again; a new rollout is tried at once
_RETRY_S = 30.0


class Models(Protocol):
    """See `worker.opener.Opener`."""

    def open(self, title: str | None) -> Inspector: ...

    def share(self, champion: Inspector, title: str) -> SharedTower: ...


@dataclass(frozen=True)
class Standing:
    """How far this worker is: the number of the rollout it follows, and what it still lacks."""

    number: int = 0
    behind: str | None = None


class Deployer:
    """`lineup` and `standing` may be read from any thread; each is replaced as a whole."""

    def __init__(
        self,
        models: Models,
        store: RolloutStore,
        *,
        changed: Callable[[Lineup], None] = lambda _: None,
        poll_s: float = _POLL_S,
        retry_s: float = _RETRY_S,
    ) -> None:
        self._models = models
        self._store = store
        self._changed = changed
        self._poll_s, self._retry_s = poll_s, retry_s
        self.standing = Standing()
        self._lineup: Lineup | None = None
        self._rollout = Rollout()
        #: what serves, by what it was asked for as; None is the worker's own checkpoint
        self._serving: dict[str | None, Inspector] = {}
        self._retry_at = 0.0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="deployer", daemon=True)

    @property
    def lineup(self) -> Lineup:
        """Not before `open_first`."""
        assert self._lineup  # noqa: S101
        return self._lineup

    def open_first(self) -> None:
        """The champion, or else this worker's own checkpoint. Raises CheckpointError."""
        rollout = Rollout()
        try:
            rollout = self._store.read()
        except (RedisError, BadMessage) as error:
            logger.warning("starting without the rollout: %s", error)
        self._change_over(rollout)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closing.set()

    def follow(self) -> None:
        """One look at Redis, and what follows from it."""
        try:
            rollout = self._store.read()
        except RedisError as error:
            logger.warning("cannot read the rollout: %s", error)
            return
        except BadMessage as error:
            if self.standing.behind != error.message:
                logger.error("%s", error)
            self.standing = Standing(self.standing.number, error.message)
            return
        overdue = self.standing.behind and time.monotonic() >= self._retry_at
        if rollout != self._rollout or overdue:
            self._change_over(rollout)

    def _run(self) -> None:
        while not self._closing.wait(self._poll_s):
            try:
                self.follow()
            except Exception:  # or this worker would never change again
                logger.exception("unexpected error")

    def _change_over(self, rollout: Rollout) -> None:
        self._rollout = rollout
        lacks: list[str] = []
        champion = self._obtain(rollout.champion, lacks) or self._fallback()
        # Without the champion there is no trial: it would be held against another.
        self._lineup = self._challenged(champion, None if lacks else rollout.trial, lacks)
        challenger = self._lineup.challenger
        serving = {id(champion), id(challenger)}
        self._serving = {ref: i for ref, i in self._serving.items() if id(i) in serving}
        self.standing = Standing(rollout.number, "; ".join(lacks) or None)
        self._retry_at = time.monotonic() + self._retry_s
        self._changed(self._lineup)
        logger.info(
            "serving %s%s",
            champion.manifest.title,
            f", on trial {challenger.manifest.title}" if challenger else "",
        )

    def _challenged(self, champion: Inspector, trial: Trial | None, lacks: list[str]) -> Lineup:
        if trial is None:
            return Lineup(champion)
        if trial.shadow:
            tower = self._shared_tower(champion, trial.challenger)
            if tower:
                return Lineup(champion, trial, tower.challenger, tower)
        challenger = self._obtain(trial.challenger, lacks)
        return Lineup(champion, trial, challenger) if challenger else Lineup(champion)

    def _shared_tower(self, champion: Inspector, title: str) -> SharedTower | None:
        """None when the challenger needs a pass of its own."""
        now = self._lineup
        if now and now.tower and (now.champion, now.tower.title) == (champion, title):
            return now.tower
        try:
            return self._models.share(champion, title)
        except CheckpointError as error:
            logger.info("the shadow gets a forward pass of its own: %s", error)
            return None

    def _fallback(self) -> Inspector:
        """Raises CheckpointError when nothing serves yet and the own checkpoint cannot either."""
        if self._lineup:
            return self._lineup.champion
        return self._serving.setdefault(None, self._models.open(None))

    def _obtain(self, title: str | None, lacks: list[str]) -> Inspector | None:
        """What serves already, or opened now; None, and the reason in `lacks`, if it cannot be."""
        for known, inspector in self._serving.items():
            if title in (known, inspector.manifest.title):
                return inspector
        self.standing = Standing(self.standing.number, f"opening {title or 'SCRATCH_CKPT'}")
        try:
            self._serving[title] = self._models.open(title)
        except CheckpointError as error:
            lacks.append(error.message)
        except Exception as error:
            lacks.append(f"{title} cannot be opened: {type(error).__name__}")
            logger.exception("unexpected error")
        else:
            return self._serving[title]
        logger.error("%s does not serve here: %s", title, lacks[-1])
        return None
