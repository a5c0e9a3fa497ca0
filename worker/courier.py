"""One POST to a receiver that anybody may have named: signed, bounded, to addresses we allow.

Redirects are not followed and proxies of the environment not used: either would lead past the check
of the address, which is made on what a name means at the moment of connecting.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from ipaddress import ip_address
from types import TracebackType
from typing import Any, Self

import httpcore
from standardwebhooks import Webhook

from shared.callbacks import Reach, parsed
from shared.errors import CallbackRefused

#: of one address: a name may have several, and some of them may be dead
_CONNECT_S = 3.0
#: of an answer are read, so that its connection can be used again; what is longer is cut
_ANSWER_BYTES = 16 * 2**10
#: connections at once, and those kept for the next
_CONNECTIONS, _KEPT, _KEPT_S = 64, 16, 30.0
_GONE = 410
_BUSY = (429, 503)


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What came of an attempt; `why` is for logs and names neither URL nor secret."""

    taken: bool
    why: str
    #: another attempt would come to the same
    final: bool = False
    #: seconds, where the receiver asked for some
    retry_after_s: float = 0.0


class AddressRefused(Exception):
    """A name leads only to addresses that callbacks may not reach."""


class Courier:
    """Use as an async context manager, in one event loop."""

    def __init__(self, secrets: Iterable[str], reach: Reach, *, timeout_s: float) -> None:
        self._signers = [Webhook(secret) for secret in secrets]
        self._timeout_s = timeout_s
        context = ssl.create_default_context()
        self._pools = {
            scheme: httpcore.AsyncConnectionPool(
                ssl_context=context,
                max_connections=_CONNECTIONS,
                max_keepalive_connections=_KEPT,
                keepalive_expiry=_KEPT_S,
                network_backend=Guarded(reach, encrypted=scheme == "https"),
            )
            for scheme in ("http", "https")
        }

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for pool in self._pools.values():
            await pool.aclose()

    async def post(self, url: str, event_id: str, body: str) -> Receipt:
        """Never raises but when cancelled."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._post(url, event_id, body)
        except (AddressRefused, CallbackRefused) as refusal:
            return Receipt(taken=False, why=type(refusal).__name__, final=True)
        except Exception as error:  # of ours or of the network's: the next attempt may fare better
            return Receipt(taken=False, why=type(error).__name__)

    async def _post(self, url: str, event_id: str, body: str) -> Receipt:
        target = parsed(url)
        pool = self._pools[target.scheme]
        async with pool.stream(
            "POST",
            httpcore.URL(
                scheme=target.raw_scheme,
                host=target.raw_host,
                port=target.port,
                target=target.raw_path,
            ),
            headers=list(self._headers(event_id, body).items()),
            content=body.encode(),
            extensions={"timeout": {"connect": _CONNECT_S}},
        ) as answer:
            received = 0
            async for chunk in answer.aiter_stream():
                received += len(chunk)
                if received > _ANSWER_BYTES:
                    break
            return _receipt(answer)

    def _headers(self, event_id: str, body: str) -> dict[str, str]:
        """Signed as in Standard Webhooks, for this moment; a receiver refuses old ones."""
        now = datetime.now(UTC)
        return {
            "Content-Type": "application/json",
            "User-Agent": "scratch-detector",
            "webhook-id": event_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(s.sign(event_id, now, body) for s in self._signers),
        }


def _receipt(answer: httpcore.Response) -> Receipt:
    asked = 0.0
    if answer.status in _BUSY:
        headers = {name.lower(): value for name, value in answer.headers}
        after = headers.get(b"retry-after", b"")
        asked = float(after) if after.isdigit() else 0.0
    return Receipt(
        taken=200 <= answer.status < 300,
        why=str(answer.status),
        final=answer.status == _GONE,
        retry_after_s=asked,
    )


class Guarded(httpcore.AsyncNetworkBackend):
    """Looks a name up once and connects to what it has checked."""

    def __init__(self, reach: Reach, *, encrypted: bool) -> None:
        self._allows = partial(reach.allows, encrypted=encrypted)
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self, host: str, port: int, *args: Any, **kwargs: Any
    ) -> httpcore.AsyncNetworkStream:
        """Raises AddressRefused, httpcore's errors, OSError, and UnicodeError for some names."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = [str(where[0]) for *_, where in found]
        allowed = [address for address in addresses if self._allows(ip_address(address))]
        if not allowed:
            raise AddressRefused
        for address in allowed[:-1]:
            with contextlib.suppress(httpcore.ConnectError, httpcore.ConnectTimeout):
                return await self._network.connect_tcp(address, port, *args, **kwargs)
        return await self._network.connect_tcp(allowed[-1], port, *args, **kwargs)

    async def sleep(self, seconds: float) -> None:
        await self._network.sleep(seconds)
