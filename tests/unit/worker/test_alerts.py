"""Grouping and limits with a fake sender; real SMTP with aiosmtpd, TLS and login."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from cli.stack import free_port
from shared.contract import Failure
from shared.settings import Settings
from worker.alerts import Alerts, open_alerts

CORRUPT = Failure(code="corrupt_image", message="The image is truncated or damaged.")


class Outbox:
    """Collects mails; refuses as many as the test says."""

    def __init__(self, refuse: int = 0) -> None:
        self.mails: list[EmailMessage] = []
        self.arrived = threading.Semaphore(0)
        self._refuse = refuse

    def __call__(self, mail: EmailMessage) -> None:
        if self._refuse:
            self._refuse -= 1
            self.arrived.release()
            raise ConnectionRefusedError
        self.mails.append(mail)
        self.arrived.release()


def alerts(outbox: Outbox, *, window_s: float = 0.05, max_per_hour: int = 10) -> Alerts:
    made = Alerts(
        outbox, sender="a@x.test", to="b@x.test", window_s=window_s, max_per_hour=max_per_hour
    )
    made.start()
    return made


def test_it_tells_what_became_of_each_mail_and_what_waits() -> None:
    told: list[str] = []
    outbox = Outbox(refuse=1)
    made = Alerts(outbox, sender="a@x", to="b@x", window_s=0.01, max_per_hour=9, mailed=told.append)
    made.report("id", CORRUPT)
    made.report("id", CORRUPT)
    assert made.waiting() == 2
    made.start()
    for _ in range(2):
        assert outbox.arrived.acquire(timeout=10)
    made.close()

    assert told == ["failed", "sent"]
    assert made.waiting() == 0


def test_a_warning_is_of_no_inspection() -> None:
    outbox = Outbox()
    made = alerts(outbox, window_s=60)
    made.warn("drift_camera", "sharpness moved")
    made.warn("drift_camera", "sharpness, brightness moved")
    made.close()

    (mail,) = outbox.mails
    assert mail["Subject"] == "Scratch detector: drift_camera"
    assert "sharpness, brightness moved" in mail.get_content()
    assert "task" not in mail.get_content()


def test_equal_errors_within_a_window_are_one_mail() -> None:
    outbox = Outbox()
    made = alerts(outbox, window_s=60)
    for number in range(100):
        made.report(f"id{number}", CORRUPT)
    made.report("other", Failure(code="inference_failed", message="It choked."))
    made.close()

    (mail,) = outbox.mails
    assert mail["Subject"] == "Scratch detector: 101 failed inspections"
    assert "corrupt_image: 100 since" in mail.get_content()
    assert "inference_failed: 1 since" in mail.get_content()
    assert mail.get_content().count("task id") == 5


def test_beyond_the_hourly_limit_nothing_is_sent() -> None:
    outbox = Outbox()
    made = alerts(outbox, max_per_hour=1)
    made.report("1", CORRUPT)
    assert outbox.arrived.acquire(timeout=5)
    made.report("2", CORRUPT)
    made.close()

    assert len(outbox.mails) == 1


def test_a_mail_that_could_not_be_sent_is_not_forgotten() -> None:
    outbox = Outbox(refuse=1)
    made = alerts(outbox)
    made.report("1", CORRUPT)
    assert outbox.arrived.acquire(timeout=5)
    assert outbox.arrived.acquire(timeout=5)
    made.close()

    assert "corrupt_image: 1 since" in outbox.mails[0].get_content()


def test_cancelled_tasks_alert_nobody() -> None:
    outbox = Outbox()
    made = alerts(outbox)
    made.report("1", Failure(code="task_cancelled", message="Cancelled."))
    made.close()

    assert outbox.mails == []


def test_text_from_outside_cannot_forge_headers_or_lines() -> None:
    outbox = Outbox()
    made = alerts(outbox)
    made.report("1", Failure(code="corrupt_image", message="x\r\nBcc: victim@x.test\r\n\r\nhello"))
    made.close()

    (mail,) = outbox.mails
    assert mail["Bcc"] is None
    assert "x??Bcc" in mail.get_content()


def test_without_the_three_variables_alerts_are_off(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        assert open_alerts(Settings(alert_email="a@x.test", _env_file=None)) is None

    assert "alerts are off" in caplog.text


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
            require_starttls=security == "starttls", **tls,
        )  # fmt: skip
        self.controller.start()
        self.port = self.controller.port


# aiosmtpd does not count implicit TLS as TLS, and warns.
IMPLICIT_TLS = "ignore:Requiring AUTH while not requiring TLS"


@pytest.fixture(params=["tls", "starttls"])
def smtp(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Smtp]]:
    server = Smtp(request.param, tmp_path)
    yield request.param, server
    server.controller.stop()


def mail_settings(security: str, server: Smtp, password: str) -> Settings:
    return Settings.model_validate(
        {
            "alert_email": "a@x.test", "alert_app_password": password, "alert_to": "b@x.test",
            "smtp_host": "localhost", "smtp_port": server.port, "smtp_security": security,
            "smtp_ca_file": server.ca_file, "alert_window_s": 0.05,
        }
    )  # fmt: skip


@pytest.mark.filterwarnings(IMPLICIT_TLS)
def test_a_mail_goes_out_encrypted_and_logged_in(smtp: tuple[str, Smtp]) -> None:
    security, server = smtp
    made = open_alerts(mail_settings(security, server, "app password"))
    assert made
    made.start()
    made.report("1", CORRUPT)

    assert server.mailbox.arrived.wait(10)
    made.close()
    assert b"corrupt_image: 1 since" in server.mailbox.messages[0]


@pytest.mark.filterwarnings(IMPLICIT_TLS)
def test_a_wrong_password_is_logged_without_the_password(
    smtp: tuple[str, Smtp], caplog: pytest.LogCaptureFixture
) -> None:
    security, server = smtp
    made = open_alerts(mail_settings(security, server, "wrong secret"))
    assert made
    made.start()
    made.report("1", CORRUPT)
    made.close()

    assert server.mailbox.messages == []
    assert "could not be sent" in caplog.text
    assert "wrong secret" not in caplog.text
