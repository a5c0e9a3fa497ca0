"""Sends the answers of uploads that named a `callback_url`, from a thread of its own.

Its event loop holds many receivers at once, and none of them long: a slow or dead one costs a
connection, never a task thread. What is due stands in Redis until its receiver has taken it or it
is given up, so it survives this process. One worker at a time sends; two at once would only send
twice, under one `webhook-id`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from concurrent.futures import ThreadPoolExecutor

from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared.callbacks import Reach
from shared.outbox import SENDER_KEY, Outbox
from shared.settings import Settings
from worker.courier import Courier
from worker.dispatcher import Attempted, Dispatcher
from worker.lease import AsyncLease

logger = logging.getLogger(__name__)

#: seconds between two looks at Redis, and after which another worker may send instead
_EVERY_S, _LEASE_S = 0.5, 5.0
#: looking up a name blocks a thread, as long as a name server likes
_LOOK_UPS = 64
#: seconds that attempts under way have when this process ends
_LAST_WAIT_S = 5.0
_REDIS_TIMEOUT_S = 5


class Webhooks:
    def __init__(self, settings: Settings, attempted: Attempted) -> None:
        self._settings = settings
        self._attempted = attempted
        self._waiting = 0
        self._closing = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._run()), name="webhooks", daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def waiting(self) -> int:
        """Callbacks without an answer, or a receiver that took it; 0 where another worker sends."""
        return self._waiting

    def close(self) -> None:
        self._closing.set()
        self._thread.join(2 * _LAST_WAIT_S)

    async def _run(self) -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_LOOK_UPS))
        settings = self._settings
        redis = Redis.from_url(
            settings.redis_url,
            socket_timeout=_REDIS_TIMEOUT_S,
            socket_connect_timeout=_REDIS_TIMEOUT_S,
        )
        reach = Reach(settings.webhook_networks)
        timeout_s = settings.webhook_timeout_s
        async with redis, Courier(settings.webhook_secrets, reach, timeout_s=timeout_s) as courier:
            outbox = Outbox(redis)
            dispatcher = Dispatcher(
                outbox,
                courier,
                retry_s=settings.webhook_retry_s,
                give_up_s=settings.webhook_give_up_s,
                attempted=self._attempted,
            )
            lease = AsyncLease(redis, SENDER_KEY, lasts_s=_LEASE_S)
            while not self._closing.is_set():
                await self._look(lease, outbox, dispatcher)
                await asyncio.sleep(_EVERY_S)
            await dispatcher.end(_LAST_WAIT_S)
            with contextlib.suppress(RedisError, OSError):
                await lease.leave()

    async def _look(self, lease: AsyncLease, outbox: Outbox, dispatcher: Dispatcher) -> None:
        try:
            dispatcher.leads = await lease.is_ours()
            if dispatcher.leads:
                await dispatcher.round()
            self._waiting = await outbox.waiting() if dispatcher.leads else 0
        except (RedisError, OSError) as error:
            logger.warning("callbacks not looked for: %s", type(error).__name__)
        except Exception:  # the next look may fare better
            logger.exception("callbacks not looked for")


def open_webhooks(settings: Settings, attempted: Attempted) -> Webhooks | None:
    """None where there is no secret: then uploads with a callback are refused."""
    return Webhooks(settings, attempted) if settings.webhook_secrets else None
