"""kombu's Redis transport, without what it does anew for each message.

kombu makes a redis-py client for every message it sends, receives or acknowledges, and each client
builds a table of some hundred reply parsers: a third of a worker's main thread. And it writes down
one by one what it takes up and what is acknowledged. Neither changes what is in Redis in the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Lock
from time import time
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, redis
from kombu.utils.json import dumps


class QoS(redis.QoS):  # type: ignore[misc]  # kombu has no types
    """Writes down together what was taken up and what was acknowledged since the consumer last
    looked at its sockets.

    Should the process die in between, what was acknowledged is delivered again and finds its
    answer; what was only taken up the sweeper sends again.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._taken: dict[str, Any] = {}
        self._acknowledged: list[str] = []
        #: messages are taken up by the consumer's thread, and acknowledged by those of the tasks
        self._lock = Lock()

    def append(self, message: Any, delivery_tag: str) -> None:
        with self._lock:
            self._taken[delivery_tag] = message
        super(redis.QoS, self).append(message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        with self._lock:
            if self._taken.pop(delivery_tag, None) is None:
                self._acknowledged.append(delivery_tag)
        super(redis.QoS, self).ack(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        if requeue:
            super().reject(delivery_tag, requeue=True)
        else:
            self.ack(delivery_tag)

    def restore_by_tag(self, *arguments: Any, **options: Any) -> None:
        self.flush()
        super().restore_by_tag(*arguments, **options)

    @contextmanager
    def pipe_or_acquire(self, pipe: Any = None, client: Any = None) -> Iterator[Any]:
        """Without MULTI: half of a pair does no harm, and the sweeper knows what was accepted."""
        if pipe is not None:
            yield pipe
            return
        with self.channel.conn_or_acquire(client) as client:
            yield client.pipeline(transaction=False)

    def flush(self) -> None:
        """Raises RedisError, and then has forgotten nothing."""
        with self._lock:
            taken, self._taken = self._taken, {}
            acknowledged, self._acknowledged = self._acknowledged, []
        if not (taken or acknowledged):
            return
        try:
            self._write_down(taken, acknowledged)
        except Exception:
            with self._lock:
                self._taken = taken | self._taken
                self._acknowledged = acknowledged + self._acknowledged
            raise

    def _write_down(self, taken: dict[str, Any], acknowledged: list[str]) -> None:
        with self.pipe_or_acquire() as pipe:
            if taken:
                now = time()
                pipe.zadd(self.unacked_index_key, dict.fromkeys(taken, now))
                pipe.hset(self.unacked_key, mapping={t: _raw(m) for t, m in taken.items()})
            if acknowledged:
                # In this order: what is in the index alone is found there and forgotten.
                pipe.hdel(self.unacked_key, *acknowledged)
                pipe.zrem(self.unacked_index_key, *acknowledged)
            pipe.execute()


def _raw(message: Any) -> str:
    """As kombu keeps a message until it is acknowledged."""
    where = message.delivery_info
    raw: str = dumps([message._raw, where["exchange"], where["routing_key"]])
    return raw


class Channel(redis.Channel):  # type: ignore[misc]
    QoS = QoS

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._shared_client: Any = None
        super().__init__(*arguments, **options)

    def _create_client(self, asynchronous: bool = False) -> Any:
        """One for all but the blocking reads; redis-py's clients may be used by many threads."""
        if asynchronous:
            return super()._create_client(asynchronous=True)
        pool = self.pool  # replaced after a fork and when the connection is lost
        if self._shared_client is None or self._shared_client.connection_pool is not pool:
            self._shared_client = super()._create_client()
        return self._shared_client

    def close(self) -> None:
        if not self.closed:  # Celery closes some twice, and then there is no connection
            with suppress(*self.connection.connection_errors, *self.connection.channel_errors):
                self.qos.flush()
        super().close()


class Poller(redis.MultiChannelPoller):  # type: ignore[misc]
    def on_poll_start(self) -> None:
        for channel in self._channels:
            channel.qos.flush()
        super().on_poll_start()


class Transport(redis.Transport):  # type: ignore[misc]
    Channel = Channel

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.cycle = Poller()


def install() -> None:
    """For every `redis://` and `rediss://` of this process."""
    for scheme in ("redis", "rediss"):
        TRANSPORT_ALIASES[scheme] = f"{__name__}:Transport"
