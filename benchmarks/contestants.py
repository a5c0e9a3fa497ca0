"""Who is measured: our service, the limit, and the servers a user would pick instead."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.limit import Limit
from benchmarks.processes import server, service
from benchmarks.wrk import Load, Target, closed_loop
from cli.stack import free_port

_IN_PROCESS = ["-m", "uvicorn", "benchmarks.peers.in_process:app", "--no-access-log"]
#: the service that came before this one: torch in the web process
ORIGINAL = "original design"
#: other servers: the package that must be installed, the command, the form field (None: raw body)
PEERS: dict[str, tuple[str, list[str], str | None, str]] = {
    "in process": (
        "fastapi", [*_IN_PROCESS, "--port", "{port}"], "file", "/upload_image",
    ),
    ORIGINAL: (
        "fastapi", [*_IN_PROCESS, "--port", "{port}"], "file", "/upload_image",
    ),
    "mosec": (
        "mosec",
        ["-m", "benchmarks.peers.mosec_app", "--port", "{port}", "--timeout", "60000"],
        None,
        "/inference",
    ),
    "LitServe": (
        "litserve", ["-m", "benchmarks.peers.litserve_app", "{port}"], "request", "/upload_image",
    ),
    "BentoML": (
        "bentoml",
        ["-m", "bentoml", "serve", "benchmarks.peers.bento_service:Scratch", "--port", "{port}"],
        "files",
        "/upload_image",
    ),
    "Ray Serve": (
        "ray", ["-m", "benchmarks.peers.ray_app", "{port}"], "file", "/upload_image",
    ),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What all contestants share."""

    ckpt: Path
    #: of our service, and of the peers that are given our compiled model
    precision: str
    work: Path


class Contestants:
    """All started and idle; one at a time is loaded."""

    def __init__(self, targets: dict[str, Target], limit: Limit) -> None:
        self._targets = targets
        self._limit = limit
        self.names = ["limit", *targets]

    def measure(self, name: str, images: Path, *, connections: int, seconds: float) -> float:
        """Images a second. The limit knows no connections."""
        if name == "limit":
            return self._limit.per_s(images, seconds)
        return self.load(name, images, connections=connections, seconds=seconds).per_s

    def target(self, name: str) -> Target:
        return self._targets[name]

    def load(self, name: str, images: Path, *, connections: int, seconds: float) -> Load:
        return closed_loop(self.target(name), images, connections=connections, seconds=seconds)


@contextmanager
def contestants(setup: Setup, peers: list[str]) -> Iterator[Contestants]:
    """Ours, and each of `peers` twice: as users write it, and given our decode and our graph."""
    targets: dict[str, Target] = {}
    with ExitStack() as stack:
        ckpt = str(setup.ckpt.resolve())
        ours = service(setup.work / "ours", SCRATCH_CKPT=ckpt, SCRATCH_PRECISION=setup.precision)
        targets["ours"] = stack.enter_context(ours)
        for peer in peers:
            if not importlib.util.find_spec(PEERS[peer][0]):
                print(f"{peer} is not installed: left out", file=sys.stderr)
                continue
            for label, own in _ways(peer, setup).items():
                environment = {"PEER_CKPT": ckpt, "BENTOML_DO_NOT_TRACK": "1", **own}
                target, command = _peer(peer)
                folder = setup.work / f"{peer}{label}".replace(" ", "-")
                stack.enter_context(server(command, target, environment, folder))
                targets[peer + label] = target
        yield Contestants(targets, Limit(setup.ckpt, setup.precision))


def _ways(peer: str, setup: Setup) -> dict[str, dict[str, str]]:
    """What each entry of a peer is given, by what is added to its name."""
    plain = {"PEER_DECODE": "pillow", "PEER_PRECISION": "f32"}
    if peer == ORIGINAL:
        return {"": {**plain, "PEER_RUNTIME": "torch"}}
    return {"": plain, " +ours": {"PEER_DECODE": "ours", "PEER_PRECISION": setup.precision}}


def _peer(name: str) -> tuple[Target, list[str]]:
    _, command, field, route = PEERS[name]
    port = free_port()
    target = Target(url=f"http://127.0.0.1:{port}", route=route, field=field)
    return target, [sys.executable, *(word.format(port=port) for word in command)]
