"""`scratch serve`: what dies comes back, and stopping leaves nothing behind."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from shared.broker import celery_app
from shared.model.inspector import open_inspector
from shared.settings import Settings
from tests.checkpoints import tiny_checkpoint
from tests.integration.service import (
    BUNDLED,
    PATIENCE_S,
    ROOT,
    Service,
    running,
    wait_until,
    wait_until_written,
)
from tests.photos import jpeg


def test_it_says_a_line_to_paste_that_works(service: Service) -> None:
    docs = service.http.get("/docs")
    (worker,) = service.workers()

    assert docs.status_code == 200
    assert worker["variant"].startswith("openvino/")


def test_there_are_threads_for_twice_what_the_model_takes(service: Service) -> None:
    runtime = open_inspector(BUNDLED, runtime="openvino", precision="auto", streams=0).runtime
    with celery_app(Settings(redis_url=service.redis_url), results=False) as app:
        (stats,) = app.control.inspect(timeout=PATIENCE_S, limit=1).stats().values()

    assert stats["pool"]["max-concurrency"] == min(32, 2 * runtime.passes * runtime.batch)


def test_what_is_accepted_while_the_worker_is_dead_is_answered_when_it_is_back(
    tmp_path: Path,
) -> None:
    with running(tmp_path, {"SCRATCH_RESEND_AFTER_S": "5"}) as service:
        service.program("worker.app").kill()
        # Until Redis sees the connection closed, it would hand a message to the dead (celery#4354).
        wait_until(lambda: service.redis.info("clients")["blocked_clients"] == 0)
        accepted = [service.upload(jpeg(n), wait="false").json()["task_id"] for n in range(8)]

        for task_id in accepted:
            view = service.http.get(f"/tasks/{task_id}", params={"wait": 50}).json()
            assert view["status"] == "done", view


def test_a_killed_redis_comes_back_with_its_results(tmp_path: Path) -> None:
    with running(tmp_path) as service:
        task_id = service.upload(jpeg()).headers["x-task-id"]
        before = service.http.get(f"/tasks/{task_id}").json()
        wait_until_written(service.redis)
        supervisor = service.program("supervisor.supervisord")
        supervisor.suspend()  # it brings Redis back so soon that nobody need have missed it
        try:
            service.program("redis-server").kill()
            wait_until(lambda: not service.is_ready())
        finally:
            supervisor.resume()
        wait_until(service.is_ready)

        assert service.http.get(f"/tasks/{task_id}").json() == before
        assert service.upload(jpeg(1)).status_code == 200


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopping_leaves_no_process_and_frees_the_ports(
    tmp_path: Path, number: signal.Signals
) -> None:
    with running(tmp_path) as service:
        family = [psutil.Process(service.process.pid), *service.processes()]
        assert len(family) >= 6
        service.process.send_signal(number)
        assert service.process.wait(PATIENCE_S) == 0

    assert [p for p in family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE] == []
    for client in (service.http, service.flower):
        socket.create_server(("127.0.0.1", client.base_url.port or 0)).close()


def test_a_second_stack_on_the_same_data_is_refused(service: Service) -> None:
    second = serve(service.folder)

    assert second.returncode == 1
    assert "already runs" in second.stderr


def test_a_taken_port_is_named(tmp_path: Path, service: Service) -> None:
    port = service.http.base_url.port

    refused = serve(tmp_path, PORT=str(port))

    assert refused.returncode == 1
    assert f"127.0.0.1:{port}" in refused.stderr


def test_two_equal_ports_are_refused(tmp_path: Path) -> None:
    refused = serve(tmp_path, PORT="8001", FLOWER_PORT="8001")

    assert refused.returncode == 1
    assert "must differ" in refused.stderr


def test_a_stack_without_a_sound_model_says_why_and_stops(tmp_path: Path) -> None:
    ckpt = tiny_checkpoint(tmp_path / "ckpt", openvino=True)
    (ckpt / "head.safetensors").write_bytes(b"tampered with")

    refused = serve(tmp_path, SCRATCH_CKPT=str(ckpt), PORT="0", FLOWER_PORT="0")

    assert refused.returncode == 1
    assert "head.safetensors is not the file that the manifest describes" in refused.stderr


def serve(folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    import os

    from cli.stack import free_port

    settings = {k: str(free_port()) if v == "0" else v for k, v in settings.items()}
    return subprocess.run(
        [sys.executable, "-m", "cli.main", "serve"],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT), **settings},
        capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
