"""A stack with keys, a password for Flower and a rate limit, and what must not get through."""

from __future__ import annotations

import base64
import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.contract import QUEUE_INSPECT, TASK_INSPECT
from shared.keys import add_key
from tests.integration.service import Service, running
from tests.photos import jpeg

PASSWORD = "pass-word-of-flower"
UPLOADS = 6


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, dict[str, str]]]:
    folder = tmp_path_factory.mktemp("guarded")
    key = add_key(folder / ".data" / "api-keys", "ana")
    settings = {
        "SCRATCH_AUTH": "keys",
        "SCRATCH_FLOWER_AUTH": f"ana:{PASSWORD}",
        "SCRATCH_RATE_LIMIT": f"{UPLOADS}/hour",
    }
    with running(folder, settings) as service:
        yield service, {"Authorization": f"Bearer {key}"}


def upload(service: Service, headers: dict[str, str]) -> Any:
    return service.http.post("/upload_image", files={"file": ("a.jpg", jpeg())}, headers=headers)


def test_a_key_opens_the_door_and_nothing_else_does(guarded: Any) -> None:
    service, headers = guarded
    assert upload(service, {}).status_code == 401
    assert upload(service, headers).status_code == 200
    assert service.http.get("/metrics").status_code == 401


def test_flower_asks_for_its_password(guarded: Any) -> None:
    service, _ = guarded
    assert service.flower.get("/workers").status_code == 401
    assert service.flower.get("/workers", auth=("ana", PASSWORD)).status_code == 200


def test_no_secret_stands_on_a_command_line_or_in_a_log(guarded: Any) -> None:
    service, headers = guarded
    config = (service.folder / ".data" / "redis.conf").read_text()
    redis_password = config.split("requirepass ")[1].split()[0]
    secrets = [PASSWORD, headers["Authorization"].split()[1], redis_password]
    shown = [" ".join(process.cmdline()) for process in service.processes()]
    shown += [path.read_text() for path in (service.folder / ".data" / "logs").iterdir()]
    assert [secret for secret in secrets for text in shown if secret in text] == []


class _Trap:
    """What pickle would run."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.file,)


def _message(body: bytes, content_type: str = "application/json", **headers: Any) -> str:
    """As kombu puts one into Redis."""
    return json.dumps(
        {
            "body": base64.b64encode(body).decode(),
            "content-type": content_type,
            "content-encoding": "utf-8",
            "headers": {"lang": "py", "task": TASK_INSPECT, "id": "x", **headers},
            "properties": {
                "body_encoding": "base64",
                "delivery_tag": f"tag-{content_type}-{len(body)}",
                "delivery_info": {"exchange": "", "routing_key": QUEUE_INSPECT},
            },
        }
    )


def test_messages_that_are_not_ours_change_nothing(guarded: Any, tmp_path: Path) -> None:
    service, headers = guarded
    worker = service.program("worker.app").pid
    trap = tmp_path / "sprung"
    options = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    call = json.dumps([[], {"job": {"version": 99, "id": "x"}}, options]).encode()
    junk = [
        _message(pickle.dumps([[_Trap(trap)], {}, options]), "application/x-python-serialize"),
        _message(b"[1, 2", "application/json"),
        _message(b'"a text"'),
        _message(b"5"),
        _message(b"[[], {}]"),
        _message(call, id=["x"]),
        _message(call, timelimit=7),
        _message(call),
        _message(call, task="os.system"),
        _message(json.dumps([["../../etc/passwd"], {}, options]).encode()),
        _message(b"a: yaml", "application/x-yaml"),
    ]
    service.redis.lpush(QUEUE_INSPECT, *junk)

    assert upload(service, headers).status_code == 200

    assert service.redis.llen(QUEUE_INSPECT) == 0
    assert not trap.exists()
    assert service.program("worker.app").pid == worker


def test_who_has_had_his_share_waits(guarded: Any) -> None:
    """Runs last in this file."""
    service, headers = guarded
    answers = [upload(service, headers) for _ in range(UPLOADS)]
    assert {answer.status_code for answer in answers} == {200, 429}
    assert answers[-1].json()["code"] == "rate_limited"
    assert int(answers[-1].headers["retry-after"]) > 1
