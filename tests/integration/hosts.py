"""Hosts of our own on one machine: network namespaces with an address each, on a switch.

What runs in one host reaches the others over the network alone. Needs root and `ip`.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest

from tests.integration.service import PATIENCE_S, ROOT

T = TypeVar("T")

_CLONE_NEWNET = 0x40000000


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@dataclass(frozen=True)
class Host:
    """`number` is the last byte of its address and its port on the switch."""

    network: str
    number: int
    folder: Path

    @property
    def address(self) -> str:
        return f"10.77.0.{self.number}"

    @property
    def namespace(self) -> str:
        return f"{self.network}-{self.number}"

    @property
    def name(self) -> str:
        return f"host{self.number}"

    @contextmanager
    def running(self, *command: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
        """A process here; on leaving, it is told to end."""
        named = ["unshare", "--uts", "sh", "-c", 'hostname "$0"; exec "$@"', self.name, *command]
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("SCRATCH_", "REDIS"))}
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                ["ip", "netns", "exec", self.namespace, *named],
                cwd=self.folder,
                env={**clean, "PATH": path, "PYTHONPATH": str(ROOT), **environment},
                stdout=log,
                stderr=log,
            )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(PATIENCE_S)

    @contextmanager
    def inside(self) -> Iterator[Callable[[Callable[[], T]], T]]:
        """Calls functions in a thread whose sockets are this host's."""

        def enter() -> None:
            with Path(f"/run/netns/{self.namespace}").open() as namespace:
                libc = ctypes.CDLL(None, use_errno=True)
                if libc.setns(namespace.fileno(), _CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")

        with ThreadPoolExecutor(1, initializer=enter) as thread:
            yield lambda call: thread.submit(call).result()


@dataclass
class Network:
    name: str
    hosts: list[Host] = field(default_factory=list)

    def add(self, host: Host) -> None:
        cable = f"s{host.number}"
        ip("netns", "add", host.namespace)
        self.hosts.append(host)
        ip("-n", self.name, "link", "add", cable, "type", "veth",
           "peer", "name", "eth0", "netns", host.namespace)  # fmt: skip
        ip("-n", self.name, "link", "set", cable, "master", "switch", "up")
        ip("-n", host.namespace, "address", "add", f"{host.address}/24", "dev", "eth0")
        ip("-n", host.namespace, "link", "set", "lo", "up")
        ip("-n", host.namespace, "link", "set", "eth0", "up")

    def cut_off(self, host: Host) -> None:
        """Its cable is pulled: nothing goes in or out, and nobody is told."""
        ip("-n", self.name, "link", "set", f"s{host.number}", "down")

    def bring_back(self, host: Host) -> None:
        ip("-n", self.name, "link", "set", f"s{host.number}", "up")


@contextmanager
def network(folder: Path, hosts: int) -> Iterator[Network]:
    """Skips the test where the kernel or the user's rights do not allow it, also in CI."""
    made = Network(f"scratch-{os.getpid()}")
    try:
        ip("netns", "add", made.name)
    except (OSError, subprocess.CalledProcessError) as error:
        reason = error.stderr if isinstance(error, subprocess.CalledProcessError) else error
        pytest.skip(f"no network namespaces here, so no three hosts: {reason}")
    try:
        ip("-n", made.name, "link", "add", "switch", "type", "bridge")
        ip("-n", made.name, "link", "set", "switch", "up")
        for number in range(1, hosts + 1):
            (folder / str(number)).mkdir()
            made.add(Host(made.name, number, folder / str(number)))
        yield made
    finally:
        for namespace in [*(host.namespace for host in made.hosts), made.name]:
            ip("netns", "delete", namespace)
