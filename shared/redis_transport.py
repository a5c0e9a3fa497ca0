"""kombu's Redis transport, without what it does anew for each message.

kombu makes a redis-py client for every message it sends or receives, and each client builds a table
of some hundred reply parsers. And what a worker takes up it writes into Redis once more, to send it
again should it not be acknowledged in time. Our sweeper does that sooner, by what was accepted; so
what is not acknowledged only the worker itself knows, which gives it back when it leaves.
"""

from __future__ import annotations

from typing import Any

from kombu.transport import TRANSPORT_ALIASES, redis, virtual


class QoS(virtual.QoS):  # type: ignore[misc]  # kombu has no types
    def restore_unacked(self) -> None:
        """Raises RedisError at the first that cannot be given back: a Redis that is away is not
        asked once a message, nor is anything dumped to a file, as kombu would."""
        self._flush()
        for message in self._delivered.values():
            self.channel._restore(message)
        self._delivered.clear()


class Channel(redis.Channel):  # type: ignore[misc]
    ack_emulation = False

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._shared_client: Any = None
        super().__init__(*arguments, **options)
        self.QoS = QoS

    def _restore(self, message: Any, leftmost: bool = False) -> None:
        """To the end that is taken from next: it has waited before."""
        where = message.delivery_info
        with self.conn_or_acquire() as client:
            self._do_restore_message(
                message._raw, where["exchange"], where["routing_key"], client, leftmost
            )

    def _create_client(self, asynchronous: bool = False) -> Any:
        """One for all but the blocking reads; redis-py's clients may be used by many threads."""
        if asynchronous:
            return super()._create_client(asynchronous=True)
        pool = self.pool  # replaced after a fork and when the connection is lost
        if self._shared_client is None or self._shared_client.connection_pool is not pool:
            self._shared_client = super()._create_client()
        return self._shared_client


class Transport(redis.Transport):  # type: ignore[misc]
    Channel = Channel


def install() -> None:
    """For every `redis://` and `rediss://` of this process."""
    for scheme in ("redis", "rediss"):
        TRANSPORT_ALIASES[scheme] = f"{__name__}:Transport"
