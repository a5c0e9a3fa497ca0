"""What people say of answers: one way, whichever route it comes by. Knows nothing of HTTP."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from redis.asyncio import Redis
from redis.exceptions import RedisError

from api.service import InspectionService
from shared.contract import Label, Outcome
from shared.errors import ImageNotKept, NoAnswerYet
from shared.history.informative import most_informative
from shared.history.store import Answered, HistoryStore, Word
from shared.trials import queue_label

logger = logging.getLogger(__name__)

#: what the photo shows, or whether the answer was right
Said = Literal["scratches", "no_scratches", "right", "wrong"]

_OTHER: dict[Label, Label] = {"scratches": "no_scratches", "no_scratches": "scratches"}


@dataclass(frozen=True, kw_only=True)
class Noted:
    """What now counts as the truth about a task's photo."""

    task_id: str
    #: None: nobody says anything any more
    label: Label | None
    #: what the service had answered
    pred: Label
    #: whether the photo is in the history, so that a model can learn from it
    image_kept: bool


class FeedbackService:
    """SQL runs in threads. Raises HistoryUnavailable, and RedisError as InspectionService does."""

    def __init__(
        self,
        store: HistoryStore,
        service: InspectionService,
        redis: Redis,
        count: Callable[[str], None],
    ) -> None:
        """`count` is told whether an answer was `right` or `wrong`, or a word `taken_back`."""
        self._store = store
        self._service = service
        self._redis = redis
        self._count = count

    async def say(
        self,
        task_id: str,
        said: Said | None,
        *,
        note: str | None = None,
        key_name: str = "",
        source: str = "api",
    ) -> Noted:
        """Keeps a word for good; the last one about a photo counts, None takes it back.

        Raises TaskNotFound, and NoAnswerYet where there is nothing to be right or wrong.
        """
        kept = await asyncio.to_thread(self._store.find, task_id)
        answer = kept or await self._answer(task_id)
        pred = answer.pred if isinstance(answer, Answered) else _pred(answer)
        label = _label(said, pred)
        word = Word(
            task_id=task_id,
            label=label,
            at=time.time(),
            note=note or None,
            key_name=key_name,
            source=source,
            **Word.about(answer),
        )
        await asyncio.to_thread(self._store.say, word)
        self._count("taken_back" if label is None else "right" if label == pred else "wrong")
        await self._tell_trial(task_id, label)
        return Noted(task_id=task_id, label=label, pred=pred, image_kept=kept is not None)

    async def image(self, task_id: str) -> bytes:
        """Raises ImageNotKept."""
        answer = await asyncio.to_thread(self._store.find, task_id)
        image = await asyncio.to_thread(self._store.image, answer) if answer else None
        if image is None:
            raise ImageNotKept
        return image

    async def queue(self, count: int) -> tuple[list[Answered], int]:
        """The most informative unlabelled photos, and how many there are in all."""
        found = await asyncio.to_thread(most_informative, self._store, count)
        return found, await asyncio.to_thread(self._store.count_unlabelled)

    async def _answer(self, task_id: str) -> Outcome:
        result = (await self._service.task(task_id)).result
        if isinstance(result, Outcome) and result.prediction:
            return result
        raise NoAnswerYet

    async def _tell_trial(self, task_id: str, label: Label | None) -> None:
        """What counts is in SQL; a trial that missed a word is only less sure."""
        try:
            async with self._redis.pipeline(transaction=False) as pipe:
                queue_label(pipe, task_id, label)
                await pipe.execute()
        except (RedisError, OSError) as error:
            logger.warning("a trial missed a label: %r", error)


def _pred(outcome: Outcome) -> Label:
    assert outcome.prediction  # noqa: S101
    return outcome.prediction.pred


def _label(said: Said | None, pred: Label) -> Label | None:
    match said:
        case "right":
            return pred
        case "wrong":
            return _OTHER[pred]
    return said
