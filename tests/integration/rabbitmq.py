"""A RabbitMQ of our own: Debian's, with all its files in a folder and only on loopback."""

from __future__ import annotations

import os
import random
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.service import PATIENCE_S, wait_until

#: the wrapper in PATH would change to a user of its own
_SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
#: seconds to start on a busy machine
_START_S = 180
#: Below the ports that Linux gives to connections: in the seconds until RabbitMQ listens, none of
#: those can take its port, nor, asking for it from that very port, connect to itself.
_PORTS = range(20_000, 32_000)


@contextmanager
def rabbitmq(folder: Path) -> Iterator[str]:
    """Its URL. Where RabbitMQ is not installed, the test is skipped, in CI it fails."""
    if not _SERVER.exists():
        missing = "RabbitMQ is not installed: `make test-rabbitmq` installs it"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    port, distribution_port, epmd_port = _free_ports(3)
    (folder / "plugins").write_text("[].")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "RABBITMQ_NODENAME": f"scratch{port}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(distribution_port),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_CONFIG_FILE": str(folder / "none"),
        # its script then becomes the server, instead of watching over it
        "RUNNING_UNDER_SYSTEMD": "true",
        "ERL_CRASH_DUMP": str(folder / "erl_crash.dump"),
        "ERL_EPMD_PORT": str(epmd_port),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
    }
    log = folder / "rabbitmq.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [_SERVER],
            cwd=folder,  # where Mnesia dumps its core, should it be stopped while it starts
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )

    def listens() -> bool:
        assert process.poll() is None, f"RabbitMQ ended:\n{log.read_text()[-3000:]}"
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_until(listens, patience_s=_START_S)
        yield f"amqp://guest:guest@127.0.0.1:{port}//"
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        subprocess.run(["epmd", "-port", str(epmd_port), "-kill"], check=False, capture_output=True)


def _free_ports(count: int) -> list[int]:
    found: list[int] = []
    for port in random.sample(_PORTS, len(_PORTS)):
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError("no ports are free")
