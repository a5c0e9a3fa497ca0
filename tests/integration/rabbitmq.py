"""A RabbitMQ of our own: Debian's, with all its files in a folder and only on loopback."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cli.stack import free_port
from tests.integration.service import PATIENCE_S, wait_until

#: the wrapper in PATH would change to a user of its own
_SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")


@contextmanager
def rabbitmq(folder: Path) -> Iterator[str]:
    """Its URL. Skips the test where RabbitMQ is not installed."""
    if not _SERVER.exists():
        pytest.skip("RabbitMQ is not installed: `make test-rabbitmq` installs it")
    port, epmd_port = free_port(), free_port()
    (folder / "plugins").write_text("[].")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "RABBITMQ_NODENAME": f"scratch{port}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_CONFIG_FILE": str(folder / "none"),
        "ERL_EPMD_PORT": str(epmd_port),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
    }
    with (folder / "rabbitmq.log").open("wb") as log:
        process = subprocess.Popen(
            [_SERVER], env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        wait_until(lambda: _listens(port), patience_s=180)
        yield f"amqp://guest:guest@127.0.0.1:{port}//"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        epmd = shutil.which("epmd") or "epmd"
        subprocess.run([epmd, "-port", str(epmd_port), "-kill"], check=False, capture_output=True)


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
