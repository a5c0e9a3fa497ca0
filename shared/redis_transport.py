"""kombu's Redis transport, without what it does anew for each message.

kombu makes a redis-py client for every message it sends, receives or acknowledges, and each client
builds a table of some hundred reply parsers: a third of a worker's main thread. And it acknowledges
one by one what a batch has finished at once. Neither changes what is in Redis.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, redis


class QoS(redis.QoS):  # type: ignore[misc]  # kombu has no types
    """Acknowledges together what was acknowledged since the consumer last looked at its sockets.

    Should the process die in between, those tasks are delivered again and find their answer.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._acknowledged: list[str] = []

    def ack(self, delivery_tag: str) -> None:
        self._acknowledged.append(delivery_tag)
        super(redis.QoS, self).ack(delivery_tag)

    @contextmanager
    def pipe_or_acquire(self, pipe: Any = None, client: Any = None) -> Iterator[Any]:
        """Without MULTI: half of a pair does no harm, and the sweeper knows what was accepted."""
        if pipe is not None:
            yield pipe
            return
        with self.channel.conn_or_acquire(client) as client:
            yield client.pipeline(transaction=False)

    def flush_acks(self) -> None:
        """Raises RedisError, and then has forgotten nothing."""
        tags = list(self._acknowledged)
        if tags:
            with self.pipe_or_acquire() as pipe:
                pipe.zrem(self.unacked_index_key, *tags).hdel(self.unacked_key, *tags).execute()
            del self._acknowledged[: len(tags)]


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
                self.qos.flush_acks()
        super().close()


class Poller(redis.MultiChannelPoller):  # type: ignore[misc]
    def on_poll_start(self) -> None:
        for channel in self._channels:
            channel.qos.flush_acks()
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
