"""What one Redis carries: tasks a second with 1 to 8 worker processes whose model is a sleep.

    python -m benchmarks.queue_rate [TASKS]

All tasks are accepted and queued first, with an upload of 50 kB each, and then drained, so that
sender and workers do not share the processor. The processor time of a task says more than the rate
when other things run on the machine. Counts from a tenth to nearly all.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil
from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import RedisError

from benchmarks.processes import ROOT
from cli.stack import programs, write_redis_config
from shared.broker import celery_app, queue_entry
from shared.contract import InspectJob
from shared.intake import Intake
from shared.records import OPEN_KEY
from shared.settings import Settings

_IMAGE = os.urandom(50_000)
_SENDERS = 16


async def fill(settings: Settings, tasks: int) -> float:
    """Tasks a second that are accepted and queued."""
    redis = AsyncRedis.from_url(settings.redis_url)
    app = celery_app(settings, results=False)
    intake = Intake(
        redis, record_ttl_s=3600, result_ttl_s=3600, queue_entry=partial(queue_entry, app)
    )
    sha256 = hashlib.sha256(_IMAGE).hexdigest()

    async def some() -> None:
        for _ in range(tasks // _SENDERS):
            now = time.time()
            job = InspectJob(
                id=uuid.uuid4().hex,
                sha256=sha256,
                size=len(_IMAGE),
                accepted_at=now,
                deadline_at=now + 3600,
                sent_at=now,
            )
            await intake.accept(job, _IMAGE)

    began = time.perf_counter()
    await asyncio.gather(*(some() for _ in range(_SENDERS)))
    took = time.perf_counter() - began
    await redis.aclose()
    return tasks / took


@dataclass
class Moment:
    """Where the drain stands, and the processor seconds that were spent until then."""

    left: int
    at: float
    redis_s: float
    workers_s: float

    @classmethod
    def now(cls, left: int, server: psutil.Process, workers: list[psutil.Process]) -> Moment:
        return cls(left, time.perf_counter(), _spent(server), sum(map(_spent, workers)))


def _spent(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def drain(
    redis: Redis, tasks: int, server: psutil.Process, workers: list[psutil.Process]
) -> dict[str, float]:
    """From when a tenth is done until nearly all are."""
    while (left := redis.zcard(OPEN_KEY)) > tasks * 0.9:
        time.sleep(0.02)
    first = Moment.now(left, server, workers)
    while (left := redis.zcard(OPEN_KEY)) > tasks * 0.02:
        time.sleep(0.02)
    last = Moment.now(left, server, workers)
    done = first.left - last.left
    return {
        "done_per_s": round(done / (last.at - first.at)),
        "worker_cpu_ms": round((last.workers_s - first.workers_s) / done * 1e3, 2),
        "redis_cpu_ms": round((last.redis_s - first.redis_s) / done * 1e3, 3),
    }


def worker(number: int, folder: Path, url: str) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "REDIS_URL": url,
        "SCRATCH_CKPT": str(ROOT / "ckpts" / "scratch-lite"),
        "SCRATCH_RESEND_AFTER_S": "3600",
        "SCRATCH_INFERENCE_LOG": str(folder / f"log{number}"),
    }
    command = ["-m", "celery", "--app", "benchmarks.sleeping_worker", "worker", "--pool", "threads",
               "--without-mingle", "--without-gossip", "--hostname", f"w{number}@%h"]  # fmt: skip
    return subprocess.Popen(
        [sys.executable, *command], env=environment, stderr=(folder / f"err{number}").open("wb")
    )


def measure(workers: int, tasks: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        config, url = write_redis_config(folder, max_bytes=2**31)
        (redis_program,) = (p for p in programs(Settings(), config) if p.name == "redis")
        server = subprocess.Popen(shlex.split(redis_program.command), stdout=subprocess.DEVNULL)
        stack.callback(server.wait)
        stack.callback(server.terminate)
        redis = stack.enter_context(closing(Redis.from_url(url)))
        while not _answers(redis):
            time.sleep(0.05)
        sent = asyncio.run(fill(Settings(redis_url=url), tasks))
        processes = [worker(number, folder, url) for number in range(workers)]
        found = drain(
            redis, tasks, psutil.Process(server.pid), [psutil.Process(p.pid) for p in processes]
        )
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()
        return {"workers": workers, "accepted_per_s": round(sent), **found}


def _answers(redis: Redis) -> bool:
    try:
        return bool(redis.ping())
    except RedisError:
        return False


def main(tasks: int = 4000) -> None:
    for workers in (1, 2, 4, 8):
        print(json.dumps(measure(workers, tasks)), flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
