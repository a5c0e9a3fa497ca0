"""Mails about failed inspections, and about answers that a person should look at: equal errors
grouped, never more than the hourly limit.

`tell` only counts and returns at once; a thread of its own talks to the mail server, so
that alerts never slow an inspection.
"""

from __future__ import annotations

import logging
import smtplib
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable
from email.message import EmailMessage

from redis import Redis
from redis.exceptions import RedisError

from shared.contract import Failure, Outcome
from shared.errors import TaskCancelled
from shared.settings import Settings
from worker.digest import Doubt, Doubts, Group, LinksOf, digest
from worker.mail_links import MailLinks

logger = logging.getLogger(__name__)

#: seconds for each answer of the mail server
_SMTP_TIMEOUT_S = 10

_WHY = {"between": "too close to call", "unlike": "unlike the photos that the model knows"}

Send = Callable[[EmailMessage], None]
#: hears `sent` or `failed` for each mail
Mailed = Callable[[str], None]


def _no_links(_task_id: str, _prob_scratches: float) -> list[tuple[str, str]]:
    return []


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
        links_of: LinksOf = _no_links,
    ) -> None:
        self._send = send
        self._mailed = mailed
        self._from, self._to = sender, to
        self._window_s = window_s
        self._max_per_hour = max_per_hour
        self._links_of = links_of
        self._groups: dict[str, Group] = {}
        self._doubts = Doubts()
        self._changed = threading.Condition()
        self._closing = False
        self._sent_at: deque[float] = deque()
        self._thread = threading.Thread(target=self._run, name="alerts", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def tell(self, outcome: Outcome) -> None:
        """Where nothing is certified, every answer is for review: no mail would name them all."""
        ruling = outcome.ruling
        if outcome.failure:
            self.report(outcome.id, outcome.failure)
        elif ruling and ruling.verdict == "review" and ruling.reason in _WHY:
            assert outcome.prediction  # noqa: S101
            self.doubt(outcome.id, outcome.prediction.prob_scratches, _WHY[ruling.reason])

    def report(self, task_id: str, failure: Failure) -> None:
        """Counts a failure; the number of groups is bounded by the number of our error codes."""
        if failure.code == TaskCancelled.code:
            return
        with self._changed:
            group = self._groups.setdefault(failure.code, Group(failure.message, time.time()))
            group.add(task_id)
            self._changed.notify()

    def doubt(self, task_id: str, prob_scratches: float, why: str) -> None:
        """Counts an answer that a person should look at."""
        with self._changed:
            self._doubts.add(Doubt(task_id, prob_scratches, why))
            self._changed.notify()

    def warn(self, code: str, message: str) -> None:
        """What concerns no single inspection. Of equal codes, the latest message is mailed."""
        with self._changed:
            group = self._groups.setdefault(code, Group(message, time.time(), warning=True))
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
        last = False
        while not last:  # also what is told while a mail is sent, and then nobody is there to wait
            with self._changed:
                self._changed.wait_for(lambda: self._groups or self._doubts.count or self._closing)
                # Let equal errors gather, unless the process is about to end.
                self._changed.wait_for(lambda: self._closing, timeout=self._window_s)
                last = self._closing
            self._mail()

    def _mail(self) -> None:
        if not self._within_limit():
            return
        with self._changed:
            groups, self._groups = self._groups, {}
            doubts, self._doubts = self._doubts, Doubts()
        try:
            mail = digest(groups, doubts, self._links_of, sender=self._from, to=self._to)
            self._send(mail)
            self._sent_at.append(time.monotonic())
            self._mailed("sent")
        except (OSError, smtplib.SMTPException, ValueError, RedisError) as error:
            logger.error("an alert mail could not be sent: %s", error)
            self._put_back(groups, doubts)
            self._mailed("failed")

    def _within_limit(self) -> bool:
        """Beyond the limit errors are counted on and go out with a later mail.

        Doubts alone may take half of it, so that failures can always be told.
        """
        while self._sent_at and time.monotonic() - self._sent_at[0] > 3600:
            self._sent_at.popleft()
        if self._groups:
            return len(self._sent_at) < self._max_per_hour
        return bool(self._doubts.count) and 2 * len(self._sent_at) < self._max_per_hour

    def _put_back(self, groups: dict[str, Group], doubts: Doubts) -> None:
        with self._changed:
            for code, group in groups.items():
                newer = self._groups.get(code)
                if newer:
                    group.count += newer.count
                self._groups[code] = group
            self._doubts.put_back(doubts)


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


def open_alerts(settings: Settings, redis: Redis, mailed: Mailed = lambda _: None) -> Alerts | None:
    """None, said once in the log, when the three variables are not all set.

    `redis` has the secret of links, where there is an address for them.
    """
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
        links_of=MailLinks(redis, settings.public_url) if settings.public_url else _no_links,
    )
