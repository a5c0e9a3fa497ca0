"""RabbitMQ as the broker: the queue is there, uploads, records and results stay in Redis."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.rabbitmq import rabbitmq
from tests.integration.service import running, wait_until
from tests.photos import jpeg


@pytest.mark.rabbitmq
@pytest.mark.timeout(300)
def test_photos_go_through_rabbitmq_and_a_dead_worker_loses_none(tmp_path: Path) -> None:
    (tmp_path / "broker").mkdir()
    with (
        rabbitmq(tmp_path / "broker") as url,
        running(tmp_path, {"SCRATCH_BROKER_URL": url, "SCRATCH_RESEND_AFTER_S": "3"}) as service,
    ):
        assert service.upload(jpeg()).status_code == 200

        accepted = [service.upload(jpeg(n), wait="false").json()["task_id"] for n in range(20)]
        service.program("worker.app").kill()

        for task_id in accepted:
            view = service.http.get(f"/tasks/{task_id}", params={"wait": 50}).json()
            assert view["status"] == "done", view
        assert not service.redis.exists("inspect"), "the queue was not in RabbitMQ"
        wait_until(lambda: service.redis.zcard("scratch:open") == 0)
        assert "scratch_queue_depth NaN" in service.http.get("/metrics").text
