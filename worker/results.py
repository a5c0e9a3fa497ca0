"""Celery's result backend, made to keep the first answer and to end a task in one transaction.

Celery's own asks for a stored result, and then overwrites what came between; it also stores a
FAILURE when Redis did not answer, although the image is good. Such a task has no answer yet: its
record is open, and the sweeper sends it again.
"""

from __future__ import annotations

import threading
from typing import Any

from celery import states
from celery.backends.redis import RedisBackend

from shared.contract import Outcome
from shared.records import RESULT_PREFIX
from shared.worklist import store_answer

#: our outcomes, good or bad, are all SUCCESS (ADR 3); REVOKED is an operator's word, as in Flower
_FINAL = {states.SUCCESS, states.REVOKED}
#: what Celery takes as a backend's scheme
SCHEME = "worker.results:FirstAnswers+"


class FirstAnswers(RedisBackend):  # type: ignore[misc]  # Celery has no types
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._of_this_thread = threading.local()

    @property
    def came_first(self) -> bool:
        """Whether the answer that this thread stored last was the first to its task."""
        return bool(getattr(self._of_this_thread, "first", False))

    def _store_result(
        self,
        task_id: str,
        result: Any,
        state: str,
        traceback: Any = None,
        request: Any = None,
        **_: Any,
    ) -> Any:
        if state in _FINAL:
            if isinstance(result, Outcome):  # not before: Celery describes what a task returns
                result = result.encode()
            meta = self._get_result_meta(
                result=result, state=state, traceback=traceback, request=request
            )
            meta["task_id"] = task_id
            self.set(self.get_key_for_task(task_id), self.encode(meta))
        return result

    def _set(self, key: bytes | str, value: str) -> None:
        name = key.decode() if isinstance(key, bytes) else key
        task_id = name.removeprefix(RESULT_PREFIX)
        self._of_this_thread.first = store_answer(self.client, task_id, value, ttl_s=self.expires)
