"""`scratch serve`: starts the embedded stack, says when it answers, and takes it down again."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault, ServerProxy

import httpx
import typer
from supervisor.xmlrpc import SupervisorTransport

from cli.stack import programs, write_redis_config, write_supervisor_config
from shared.errors import AccessError
from shared.settings import Settings

#: seconds from start to ready before we say that something is wrong
_READY_WITHIN_S = 120
#: lines of a program's log that are shown when it cannot start
_LOG_LINES = 15


class _CannotServe(Exception):
    """What stands in the way, for people."""


def serve(settings: Settings) -> int:
    """Returns the exit code; stays until SIGINT or SIGTERM."""
    folder = settings.data_dir.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)  # Redis writes uploads into its append-only file
    try:
        with _only_one(folder):
            _check_access(settings)
            _check_ports(settings)
            with _supervisor(settings, folder) as process:
                _wait_until_ready(settings, folder, process)
                if process.poll() is None:
                    typer.echo(_welcome(settings))
                process.wait()
    except _CannotServe as problem:
        typer.echo(f"scratch: {problem}", err=True)
        return 1
    typer.echo("stopped")
    return 0


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Two Redis servers on one append-only file would destroy it."""
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _CannotServe(f"another stack already runs on {folder}") from None
        yield


def _check_access(settings: Settings) -> None:
    from api.identity import Gate

    try:
        Gate(settings)
    except AccessError as error:
        raise _CannotServe(error.message) from None


def _check_ports(settings: Settings) -> None:
    if settings.port == settings.flower_port:
        raise _CannotServe("PORT and FLOWER_PORT must differ")
    places = [
        ("PORT", settings.host, settings.port),
        ("FLOWER_PORT", settings.flower_host, settings.flower_port),
    ]
    for name, host, port in places:
        try:
            socket.create_server((host, port)).close()
        except OSError as error:
            raise _CannotServe(
                f"cannot listen on {host}:{port} ({error.strerror}); set {name} to another"
            ) from None


@contextmanager
def _supervisor(settings: Settings, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """supervisord with all programs; SIGINT or SIGTERM to us stops it, and it stops them."""
    redis_config, redis_url = None, settings.redis_url
    if "redis_url" not in settings.model_fields_set:
        redis_config, redis_url = write_redis_config(folder, max_bytes=settings.redis_max_bytes)
    config = write_supervisor_config(folder, programs(settings, redis_config))
    process = subprocess.Popen(
        [sys.executable, "-m", "supervisor.supervisord", "--configuration", str(config)],
        env={**os.environ, "REDIS_URL": redis_url},
        start_new_session=True,  # Ctrl-C reaches us alone
    )

    def stop(*_: Any) -> None:
        process.terminate()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def _wait_until_ready(settings: Settings, folder: Path, process: subprocess.Popen[bytes]) -> None:
    """Returns early when the stack is being stopped. Raises _CannotServe with the reason."""
    typer.echo(f"starting; logs are in {folder / 'logs'}")
    give_up_at = time.monotonic() + _READY_WITHIN_S
    pids: dict[str, int] = {}
    while process.poll() is None:
        if _answers(f"{_base(settings)}/readyz") and _answers(_flower(settings)):
            return
        for name in _died(folder, pids):
            raise _CannotServe(f"{name} does not start:\n{_tail(folder, name)}")
        if time.monotonic() > give_up_at:
            raise _CannotServe(f"not ready after {_READY_WITHIN_S} s:\n{_tail(folder, 'worker')}")
        time.sleep(0.2)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).is_success
    except httpx.HTTPError:
        return False


def _died(folder: Path, pids: dict[str, int]) -> list[str]:
    """Programs that have ended by themselves since the last call, which left its `pids`.

    supervisord starts them again within a moment and then knows no exit status any more: what
    stays is that the process is another.
    """
    transport = SupervisorTransport(None, None, f"unix://{folder / 'supervisor.sock'}")
    server: Any = ServerProxy("http://127.0.0.1", transport=transport)
    try:
        now = {state["name"]: state["pid"] for state in server.supervisor.getAllProcessInfo()}
    except (OSError, Fault):  # not listening yet, or shutting down
        return []
    died = [name for name, pid in pids.items() if now.get(name) != pid]
    pids.update({name: pid for name, pid in now.items() if pid})
    return died


def _tail(folder: Path, name: str) -> str:
    log = folder / "logs" / f"{name}.log"
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return "\n".join(lines[-_LOG_LINES:])


def _base(settings: Settings) -> str:
    return f"http://{settings.host}:{settings.port}"


def _flower(settings: Settings) -> str:
    return f"http://{settings.flower_host}:{settings.flower_port}/healthcheck"


def _welcome(settings: Settings) -> str:
    base = _base(settings)
    return (
        f"\nReady: {base}  (try it at {base}/docs)\n"
        f"Flower: http://{settings.flower_host}:{settings.flower_port}\n"
        f"Paste this:\n\n"
        f"  curl -F file=@docs/example.jpg {base}/upload_image\n\n"
        f"Ctrl-C stops everything."
    )
