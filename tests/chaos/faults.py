"""What can go wrong: each fault for a while, then healed. Only the stack's own are hurt."""

from __future__ import annotations

import contextlib
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import redis.exceptions

from tests.chaos.stack import PATIENCE_S, Program, Stack
from tests.integration.service import wait_until, wait_until_written

Fault = Callable[[Stack, random.Random], None]


def kill_worker(stack: Stack, rng: random.Random) -> None:
    rng.choice(stack.workers).signal(signal.SIGKILL)


def kill_both_workers(stack: Stack, rng: random.Random) -> None:
    for worker in stack.workers:
        worker.signal(signal.SIGKILL)


def stop_worker_softly(stack: Stack, rng: random.Random) -> None:
    rng.choice(stack.workers).signal(signal.SIGTERM)


def freeze_worker(stack: Stack, rng: random.Random) -> None:
    """So long that others take up its work before it comes back."""
    worker = rng.choice(stack.workers)
    with frozen(worker):
        stack.rest(rng.uniform(6, 12))


@contextmanager
def frozen(*programs: Program) -> Iterator[None]:
    processes = [program.process for program in programs]
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)


@contextmanager
def full_disk(folder: Path) -> Iterator[None]:
    """Leaves no byte on the file system of `folder`."""
    filler = folder / "filler"
    try:
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(2**16)):
                pass
        yield
    finally:
        filler.unlink()


def restart_redis(stack: Stack, rng: random.Random) -> None:
    wait_until_written(stack.redis)
    redis = stack.redis_program.process
    redis.kill()
    redis.wait(PATIENCE_S)
    wait_until(stack.redis_answers)


def freeze_redis(stack: Stack, rng: random.Random) -> None:
    with frozen(stack.redis_program):
        stack.rest(rng.uniform(1, 7))


def pause_redis(stack: Stack, rng: random.Random) -> None:
    milliseconds = int(rng.randrange(1000, 6000) * stack.pace)
    stack.redis.execute_command("CLIENT PAUSE", milliseconds, rng.choice(["ALL", "WRITE"]))
    time.sleep(milliseconds / 1000)


def fill_redis(stack: Stack, rng: random.Random) -> None:
    with _configured(stack, "maxmemory", "1mb"):
        stack.rest(rng.uniform(1, 5))


def forbid_writes(stack: Stack, rng: random.Random) -> None:
    with _configured(stack, "min-replicas-to-write", "1"):
        stack.rest(rng.uniform(1, 5))


def demote_redis(stack: Stack, rng: random.Random) -> None:
    """A read-only replica of a master that is not there, as in a failover."""
    stack.redis.replicaof("127.0.0.1", "1")
    try:
        stack.rest(rng.uniform(1, 5))
    finally:
        stack.redis.replicaof("NO", "ONE")


@contextmanager
def _configured(stack: Stack, name: str, value: str) -> Iterator[None]:
    before = stack.redis.config_get(name)[name]
    stack.redis.config_set(name, value)
    try:
        yield
    finally:
        with contextlib.suppress(redis.exceptions.RedisError):  # a restart forgets it as well
            stack.redis.config_set(name, before)


def cut_api(stack: Stack, rng: random.Random) -> None:
    _broken(stack, rng, "api", "cut")


def cut_workers(stack: Stack, rng: random.Random) -> None:
    _broken(stack, rng, "worker", "cut")


def swallow_api(stack: Stack, rng: random.Random) -> None:
    _broken(stack, rng, "api", "black hole")


def swallow_workers(stack: Stack, rng: random.Random) -> None:
    _broken(stack, rng, "worker", "black hole")


def _broken(stack: Stack, rng: random.Random, side: str, mode: str) -> None:
    link = stack.api_link if side == "api" else stack.worker_link
    link.set(mode)  # type: ignore[arg-type]
    try:
        stack.rest(rng.uniform(1, 7))
    finally:
        link.set("pass")


def kill_api(stack: Stack, rng: random.Random) -> None:
    stack.api.signal(signal.SIGKILL)


def restart_api(stack: Stack, rng: random.Random) -> None:
    stack.api.signal(signal.SIGTERM)


def kill_everything(stack: Stack, rng: random.Random) -> None:
    wait_until_written(stack.redis)
    redis = stack.redis_program.process
    for program in stack.programs:
        program.signal(signal.SIGKILL)
    redis.wait(PATIENCE_S)
    wait_until(stack.redis_answers)


FAULTS: list[Fault] = [
    kill_worker, kill_both_workers, stop_worker_softly, freeze_worker, restart_redis, freeze_redis,
    pause_redis, fill_redis, forbid_writes, demote_redis, cut_api, cut_workers, swallow_api,
    swallow_workers, kill_api, restart_api, kill_everything,
]  # fmt: skip
#: much like another one: `make test` has no time for both
LONG_ONLY: set[Fault] = {freeze_redis, cut_api, restart_api}
