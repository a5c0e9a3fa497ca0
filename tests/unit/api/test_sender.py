from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from kombu.exceptions import OperationalError
from redis.exceptions import ConnectionError as RedisConnectionError

from api.sender import CelerySender
from shared.broker import celery_app
from shared.contract import InspectJob
from shared.errors import BrokerUnavailable

JOB = InspectJob(
    id="a" * 32, sha256="00", size=3, accepted_at=time.time(), deadline_at=time.time() + 9
)


class FakeCelery:
    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.sent: list[dict[str, Any]] = []
        self.thread: threading.Thread | None = None
        self.closed = False

    def send_task(self, name: str, **options: Any) -> None:
        self.thread = threading.current_thread()
        if self.error:
            raise self.error
        self.sent.append({"name": name, **options})

    def close(self) -> None:
        self.closed = True


async def test_sends_by_name_with_our_id_in_a_thread():
    celery = FakeCelery()
    sender = CelerySender(celery)
    await sender.send(JOB)
    sender.close()
    (sent,) = celery.sent
    assert sent["name"] == "inspect"
    assert sent["task_id"] == JOB.id
    assert sent["queue"] == "inspect"
    assert InspectJob.decode(sent["kwargs"]["job"]) == JOB
    assert "ignore_result" not in sent
    assert celery.thread is not threading.main_thread()
    assert celery.closed


@pytest.mark.parametrize(
    "error", [OperationalError("o"), RedisConnectionError("r"), ConnectionRefusedError("c")]
)
async def test_trouble_is_an_unavailable_broker(error):
    sender = CelerySender(FakeCelery(error))
    with pytest.raises(BrokerUnavailable):
        await sender.send(JOB)
    sender.close()


async def test_a_refused_connection_is_told_soon(settings):
    settings = settings.model_copy(update={"redis_url": "redis://127.0.0.1:9/0"})
    sender = CelerySender(celery_app(settings, results=False))
    began = time.monotonic()
    with pytest.raises(BrokerUnavailable):
        await sender.send(JOB)
    assert time.monotonic() - began < 4
    sender.close()
