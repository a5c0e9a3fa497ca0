"""uvicorn with bounds: heads that never end, bodies nobody wants, and too many connections."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.errors import problem_of
from api.headers import make_safe
from shared.errors import Unavailable
from shared.settings import Settings

#: bytes of a request line and its headers; httptools itself would take them for ever
_MAX_HEAD = 64 * 2**10
#: seconds for requests under way when the process is told to stop; their tasks go on regardless
_GRACE_S = 25


def uvicorn_options(settings: Settings) -> dict[str, Any]:
    """X-Forwarded-For counts only from the proxies in uvicorn's FORWARDED_ALLOW_IPS (127.0.0.1)."""
    return {
        "host": settings.host,
        "port": settings.port,
        "http": partial(
            BoundedHttp,
            max_connections=settings.max_connections,
            timeout_s=settings.receive_timeout_s,
        ),
        "ws": "none",
        "access_log": False,
        "log_config": None,  # ours: one JSON object a line
        "log_level": "warning",
        "server_header": False,
        "timeout_graceful_shutdown": _GRACE_S,
    }


class BoundedHttp(HttpToolsProtocol):
    """Closes a connection that has not sent a whole head within `timeout_s`, nor is being answered.

    That also ends the rest of a body whose request was refused long ago.
    """

    def __init__(
        self, *arguments: Any, max_connections: int, timeout_s: float, **options: Any
    ) -> None:
        super().__init__(*arguments, **options)
        self._max_connections = max_connections
        self._timeout_s = timeout_s
        self._timer: asyncio.TimerHandle | None = None
        self._head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.transport.is_closing() or not (self.cycle is None or self.cycle.response_complete):
            return
        self._expect_head()
        if self.cycle is None or not self.cycle.more_body:
            self._head_bytes += len(data)
            if self._head_bytes > _MAX_HEAD:
                self.transport.write(
                    b"HTTP/1.1 431 \r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                )
                self.transport.close()

    def on_headers_complete(self) -> None:
        self._stop_timer()
        self._head_bytes = 0
        # One who asks whether this process lives must hear that it does.
        crowded = len(self.connections) > self._max_connections and self.url != b"/healthz"
        self.app = _crowded if crowded else self.config.loaded_app
        super().on_headers_complete()

    def _expect_head(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(self._timeout_s, self.transport.close)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


async def _crowded(scope: Scope, receive: Receive, send: Send) -> None:
    problem = problem_of(Unavailable("There are too many connections."))
    headers = {"Retry-After": str(Unavailable().retry_after_s), "Connection": "close"}
    response = JSONResponse(
        problem.model_dump(mode="json", exclude_none=True),
        problem.status,
        headers,
        "application/problem+json",
    )
    make_safe(response.headers)
    await response(scope, receive, send)
