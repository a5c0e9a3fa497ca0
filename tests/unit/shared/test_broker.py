"""Celery's configuration on both sides, and what importing the light modules costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from celery.backends.base import DisabledBackend

from shared.broker import celery_app
from shared.settings import Settings

SETTINGS = Settings(redis_url="redis://127.0.0.1:1/0", result_ttl_s=99)


def test_the_api_has_no_result_backend() -> None:
    assert isinstance(celery_app(SETTINGS, results=False).backend, DisabledBackend)


def test_the_worker_keeps_results_in_redis_as_long_as_the_settings_say() -> None:
    app = celery_app(SETTINGS, results=True)
    assert app.conf.result_backend == SETTINGS.redis_url
    assert app.conf.result_expires == 99


def test_nothing_but_json_is_accepted() -> None:
    conf = celery_app(SETTINGS, results=True).conf
    assert conf.accept_content == conf.result_accept_content == ["json"]
    assert {conf.task_serializer, conf.result_serializer, conf.event_serializer} == {"json"}


def test_a_message_is_kept_until_its_task_has_ended() -> None:
    conf = celery_app(SETTINGS, results=True).conf
    assert conf.task_acks_late
    assert [queue.name for queue in conf.task_queues] == ["inspect"] == [conf.task_default_queue]


def test_the_api_does_not_wait_for_ever_for_a_redis_that_does_not_answer() -> None:
    conf = celery_app(SETTINGS, results=False).conf
    assert conf.broker_transport_options["socket_timeout"]
    assert conf.broker_transport_options["socket_connect_timeout"]


def test_another_broker_gets_its_own_options_and_results_stay_in_redis() -> None:
    settings = SETTINGS.model_copy(update={"broker_url": "amqp://u:p@queue:5672//"})
    worker = celery_app(settings, results=True).conf
    api = celery_app(settings, results=False).conf

    assert worker.broker_url == api.broker_url == "amqp://u:p@queue:5672//"
    assert worker.result_backend == SETTINGS.redis_url
    assert "priority_steps" not in worker.broker_transport_options
    assert worker.broker_transport_options["confirm_publish"]
    assert api.broker_transport_options["read_timeout"]
    assert "read_timeout" not in worker.broker_transport_options  # it waits for work
    assert (worker.broker_heartbeat, api.broker_heartbeat) == (60, 0)


@pytest.mark.parametrize("module", ["", ".settings", ".contract", ".records", ".images", ".broker"])
def test_the_light_modules_import_no_model_library(module: str, tmp_path: Path) -> None:
    # Given a fresh interpreter, when it imports the module, then no heavy library came with it
    code = (
        f"import sys; sys.path.insert(0, {str(Path.cwd())!r}); import shared{module}; "
        "print({'torch', 'torchvision', 'open_clip', 'timm', 'cv2', 'openvino'} & {*sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
