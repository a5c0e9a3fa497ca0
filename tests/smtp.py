"""A real mail server on localhost, encrypted, with a login."""

from __future__ import annotations

import ssl
import threading
from pathlib import Path
from typing import Any

import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from cli.stack import free_port


class Mailbox:
    """What a real SMTP server received."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.arrived = threading.Event()

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        self.messages.append(envelope.content)
        self.arrived.set()
        return "250 OK"


def login(_server: Any, _session: Any, _envelope: Any, mechanism: str, data: Any) -> AuthResult:
    right = LoginPassword(b"a@x.test", b"app password")
    accepted = mechanism in ("PLAIN", "LOGIN") and data == right
    return AuthResult(success=accepted, handled=False)


class Smtp:
    def __init__(self, security: str, folder: Path) -> None:
        authority = trustme.CA()
        self.ca_file = folder / "ca.pem"
        authority.cert_pem.write_to_path(str(self.ca_file))
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("localhost").configure_cert(context)
        tls = {"ssl_context": context} if security == "tls" else {"tls_context": context}
        self.mailbox = Mailbox()
        self.controller = Controller(
            self.mailbox, hostname="localhost", port=free_port(), authenticator=login,
            auth_required=True, auth_require_tls=security == "starttls",
            require_starttls=security == "starttls", ready_timeout=60, **tls,
        )  # fmt: skip
        self.controller.start()
        self.port = self.controller.port


# aiosmtpd does not count implicit TLS as TLS, and warns.
IMPLICIT_TLS = "ignore:Requiring AUTH while not requiring TLS"
