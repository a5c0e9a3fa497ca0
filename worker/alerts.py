"""Mails about failed inspections: equal errors grouped, never more than the hourly limit.

`report` only counts and returns at once; a thread of its own talks to the mail server, so that
alerts never slow an inspection.
"""

from __future__ import annotations

import logging
import smtplib
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import EmailMessage

from shared.contract import Failure
from shared.errors import TaskCancelled
from shared.settings import Settings

logger = logging.getLogger(__name__)

#: how many task ids a mail names for each error
_EXAMPLES = 5
#: seconds for each answer of the mail server
_SMTP_TIMEOUT_S = 10
#: characters of an error's text that a mail repeats
_TEXT_LIMIT = 300

Send = Callable[[EmailMessage], None]
#: hears `sent` or `failed` for each mail
Mailed = Callable[[str], None]


@dataclass
class _Group:
    """Equal errors since the last mail."""

    message: str
    first_at: float
    count: int = 0
    task_ids: list[str] = field(default_factory=list)
    #: of no single inspection
    warning: bool = False


class Alerts:
    def __init__(
        self,
        send: Send,
        *,
        sender: str,
        to: str,
        window_s: float,
        max_per_hour: int,
        mailed: Mailed = lambda _: None,
    ) -> None:
        self._send = send
        self._mailed = mailed
        self._from, self._to = sender, to
        self._window_s = window_s
        self._max_per_hour = max_per_hour
        self._groups: dict[str, _Group] = {}
        self._changed = threading.Condition()
        self._closing = False
        self._sent_at: deque[float] = deque()
        self._thread = threading.Thread(target=self._run, name="alerts", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def report(self, task_id: str, failure: Failure) -> None:
        """Counts a failure; the number of groups is bounded by the number of our error codes."""
        if failure.code == TaskCancelled.code:
            return
        with self._changed:
            group = self._groups.setdefault(failure.code, _Group(failure.message, time.time()))
            group.count += 1
            if len(group.task_ids) < _EXAMPLES:
                group.task_ids.append(task_id)
            self._changed.notify()

    def warn(self, code: str, message: str) -> None:
        """What concerns no single inspection. Of equal codes, the latest message is mailed."""
        with self._changed:
            group = self._groups.setdefault(code, _Group(message, time.time(), warning=True))
            group.message = message
            group.count += 1
            self._changed.notify()

    def waiting(self) -> int:
        """Failures that no mail has named yet."""
        with self._changed:
            return sum(group.count for group in self._groups.values())

    def close(self, timeout_s: float = 15) -> None:
        """Mails what is waiting, then ends the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._closing:
            with self._changed:
                self._changed.wait_for(lambda: self._groups or self._closing)
                # Let equal errors gather, unless the process is about to end.
                self._changed.wait_for(lambda: self._closing, timeout=self._window_s)
            self._mail()

    def _mail(self) -> None:
        if not self._groups or not self._within_limit():
            return
        with self._changed:
            groups, self._groups = self._groups, {}
        try:
            self._send(_digest(groups, sender=self._from, to=self._to))
            self._sent_at.append(time.monotonic())
            self._mailed("sent")
        except (OSError, smtplib.SMTPException, ValueError) as error:
            logger.error("an alert mail could not be sent: %s", error)
            self._put_back(groups)
            self._mailed("failed")

    def _within_limit(self) -> bool:
        """Beyond the limit errors are counted on and go out with a later mail."""
        while self._sent_at and time.monotonic() - self._sent_at[0] > 3600:
            self._sent_at.popleft()
        return len(self._sent_at) < self._max_per_hour

    def _put_back(self, groups: dict[str, _Group]) -> None:
        with self._changed:
            for code, group in groups.items():
                newer = self._groups.get(code)
                if newer:
                    group.count += newer.count
                self._groups[code] = group


def _digest(groups: dict[str, _Group], *, sender: str, to: str) -> EmailMessage:
    failed = sum(group.count for group in groups.values() if not group.warning)
    warned = [code for code, group in groups.items() if group.warning]
    said = [f"{failed} failed inspection{'s' if failed > 1 else ''}"] if failed else []
    mail = EmailMessage()
    mail["From"], mail["To"] = sender, to
    mail["Subject"] = f"Scratch detector: {', '.join(said + warned)}"
    mail.set_content("\n\n".join(_paragraph(code, group) for code, group in groups.items()))
    return mail


def _paragraph(code: str, group: _Group) -> str:
    since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(group.first_at))
    text = "".join(c if c.isprintable() else "?" for c in group.message[:_TEXT_LIMIT])
    ids = "\n".join(f"  task {task_id}" for task_id in group.task_ids)
    return f"{code}: {group.count} since {since}\n  {text}\n{ids}"


def smtp_sender(settings: Settings) -> Send:
    """Sends through the mail server of the settings, always encrypted, always logged in."""
    context = ssl.create_default_context(cafile=settings.smtp_ca_file)

    def send(mail: EmailMessage) -> None:
        with _connect(settings, context) as server:
            server.login(settings.alert_email, settings.alert_app_password.get_secret_value())
            server.send_message(mail)

    return send


def _connect(settings: Settings, context: ssl.SSLContext) -> smtplib.SMTP:
    where = (settings.smtp_host, settings.smtp_port)
    if settings.smtp_security == "tls":
        return smtplib.SMTP_SSL(*where, timeout=_SMTP_TIMEOUT_S, context=context)
    server = smtplib.SMTP(*where, timeout=_SMTP_TIMEOUT_S)
    try:
        server.starttls(context=context)
    except BaseException:
        server.close()
        raise
    return server


def open_alerts(settings: Settings, mailed: Mailed = lambda _: None) -> Alerts | None:
    """None, said once in the log, when the three variables are not all set."""
    if not settings.alerts_on:
        logger.info("alerts are off: set ALERT_EMAIL, ALERT_APP_PASSWORD and ALERT_TO")
        return None
    return Alerts(
        smtp_sender(settings),
        sender=settings.alert_email,
        to=settings.alert_to,
        window_s=settings.alert_window_s,
        max_per_hour=settings.alert_max_per_hour,
        mailed=mailed,
    )
