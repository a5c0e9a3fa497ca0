"""Grouping and limits with a fake sender; real SMTP with aiosmtpd, TLS and login."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest
from fakeredis import FakeRedis, FakeServer

from shared.contract import Failure, Outcome
from shared.links import LINKS_KEY, Signer
from shared.settings import Settings
from tests.smtp import IMPLICIT_TLS, Smtp
from worker.alerts import Alerts, Send, open_alerts
from worker.mail_links import MailLinks

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


def alerts(outbox: Send, *, window_s: float = 0.05, max_per_hour: int = 10) -> Alerts:
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


def test_what_is_told_while_a_mail_is_sent_is_mailed_at_the_end() -> None:
    outbox, told = Outbox(), threading.Event()
    sending = threading.Event()

    def slow(mail: EmailMessage) -> None:
        sending.set()
        assert told.wait(10)
        outbox(mail)

    made = alerts(slow, window_s=0)
    made.report("1", CORRUPT)
    assert sending.wait(10)
    made.report("2", CORRUPT)
    threading.Timer(0.1, told.set).start()  # after `close` has said that it is the end
    made.close()

    assert len(outbox.mails) == 2
    assert made.waiting() == 0


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


def test_doubts_and_failures_are_one_mail() -> None:
    outbox = Outbox()
    made = alerts(outbox, window_s=60)
    made.report("1", CORRUPT)
    for number in range(12):
        made.doubt(f"id{number}", 0.54, "why")
    made.close()

    (mail,) = outbox.mails
    assert mail["Subject"] == "Scratch detector: 1 failed inspection, 12 photos to look at"
    assert mail.get_content().count("scratches 54%") == 10
    assert "and 2 more" in mail.get_content()
    assert "http" not in mail.get_content()


@pytest.mark.parametrize(
    ("verdict", "reason", "told"),
    [
        ("review", "between", "scratches 54%: too close to call"),
        ("review", "unlike", "scratches 54%: unlike the photos that the model knows"),
        ("review", "uncertified", None),
        ("clean", None, None),
        (None, None, None),
    ],
)
def test_which_answers_a_mail_names(
    verdict: str | None, reason: str | None, told: str | None
) -> None:
    outbox = Outbox()
    made = alerts(outbox, window_s=60)
    ruling = {"verdict": verdict, "bound": "b", "reason": reason} if verdict else None
    prediction = {"pred": "scratches", "prob_no_scratches": 0.46, "prob_scratches": 0.54}
    fields = {"id": "a", "sha256": "b", "model": "m@1", "variant": "v"}
    made.tell(Outcome.model_validate({**fields, "prediction": prediction, "ruling": ruling}))
    made.close()

    assert [told in mail.get_content() for mail in outbox.mails if told] == [True] * bool(told)
    assert len(outbox.mails) == bool(told)


def test_doubts_leave_half_of_the_mails_to_failures() -> None:
    outbox = Outbox()
    made = alerts(outbox, max_per_hour=4)
    for number in range(2):
        made.doubt(str(number), 0.5, "why")
        assert outbox.arrived.acquire(timeout=5)
    made.doubt("held back", 0.5, "why")
    assert not outbox.arrived.acquire(timeout=0.3)
    made.report("1", CORRUPT)  # takes it along
    assert outbox.arrived.acquire(timeout=5)
    made.close()

    assert [mail["Subject"] for mail in outbox.mails] == [
        "Scratch detector: 1 photo to look at",
        "Scratch detector: 1 photo to look at",
        "Scratch detector: 1 failed inspection, 1 photo to look at",
    ]


def test_doubts_of_a_mail_that_could_not_be_sent_are_not_forgotten() -> None:
    outbox = Outbox(refuse=1)
    made = alerts(outbox)
    made.doubt("1", 0.5, "why")
    assert outbox.arrived.acquire(timeout=5)
    assert outbox.arrived.acquire(timeout=5)
    made.close()

    assert "task 1, scratches 50%" in outbox.mails[0].get_content()


def test_each_photo_has_its_links_while_redis_has_the_secret() -> None:
    server = FakeServer()
    links_of = MailLinks(FakeRedis(server=server), "https://x.test/scratch/")
    outbox = Outbox()
    server.connected = False
    made = Alerts(
        outbox, sender="a@x", to="b@x", window_s=0.01, max_per_hour=9, links_of=links_of,
        mailed=lambda outcome: setattr(server, "connected", True),
    )  # fmt: skip
    made.start()
    made.doubt("4fd1", 0.54, "why")  # without Redis there is no mail, and then there is
    assert outbox.arrived.acquire(timeout=5)
    made.close()

    found = re.findall(
        r"^    (.+): https://x\.test/scratch/say/(\S+)$", outbox.mails[0].get_content(), re.M
    )
    signer = Signer(FakeRedis(server=server).get(LINKS_KEY))
    said = [(word, signer.read(token)) for word, token in found]
    assert [(word, link.action) for word, link in said] == [
        ("scratched", "scratches"), ("clean", "no_scratches"), ("take it again", "retake"),
    ]  # fmt: skip
    assert {(link.task_id, link.prob_scratches) for _, link in said} == {("4fd1", 0.54)}


def test_without_the_three_variables_alerts_are_off(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        assert open_alerts(Settings(alert_email="a@x.test", _env_file=None), FakeRedis()) is None

    assert "alerts are off" in caplog.text


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
    made = open_alerts(mail_settings(security, server, "app password"), FakeRedis())
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
    made = open_alerts(mail_settings(security, server, "wrong secret"), FakeRedis())
    assert made
    made.start()
    made.report("1", CORRUPT)
    made.close()

    assert server.mailbox.messages == []
    assert "could not be sent" in caplog.text
    assert "wrong secret" not in caplog.text
