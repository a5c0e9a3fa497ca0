"""Puts jobs into Celery's queue, by task name: the api knows nothing of the worker's code."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Protocol

from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from shared.broker import send
from shared.contract import InspectJob
from shared.errors import BrokerUnavailable

#: Celery's sending blocks; its own broker pool has ten connections
_THREADS = 8


class Sender(Protocol):
    async def send(self, job: InspectJob) -> None:
        """Raises BrokerUnavailable."""

    def close(self) -> None:
        """Nothing is sent after this."""


class CelerySender:
    """Sends in threads of its own, so that a Redis that hangs cannot stop anything else."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="send")

    async def send(self, job: InspectJob) -> None:
        loop = asyncio.get_running_loop()
        context = copy_context()  # the request's trace
        try:
            await loop.run_in_executor(self._threads, context.run, self._send, job)
        except (OperationalError, RedisError, OSError) as error:
            raise BrokerUnavailable from error

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._app.close()

    def _send(self, job: InspectJob) -> None:
        send(self._app, job)
