"""Images of a dead process are judged alone, so that only the one that kills is given up."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import fakeredis
import pytest

from shared.contract import InspectJob
from shared.records import task_key
from shared.worklist import Worklist
from worker.custody import Custody


class Images:
    """Accepted tasks on one Redis, and the processes that take them up one after the other."""

    def __init__(self) -> None:
        self.redis = fakeredis.FakeRedis()

    def accept(self, task_id: str) -> InspectJob:
        self.redis.hset(task_key(task_id), mapping={"accepted_at": 1, "deadline_at": 2})
        return InspectJob(id=task_id, sha256="", size=1, accepted_at=1, deadline_at=2)

    def new_process(self) -> Custody:
        return Custody(Worklist(self.redis, record_ttl_s=60))

    def deliveries(self, task_id: str) -> int:
        return int(self.redis.hget(task_key(task_id), "deliveries") or 0)


@pytest.fixture
def images() -> Images:
    return Images()


def test_fresh_images_are_judged_together(images: Images) -> None:
    custody = images.new_process()
    with ExitStack() as held:
        claims = [held.enter_context(custody.taken(images.accept(name))) for name in "abc"]
    assert [claim.deliveries for claim in claims] == [1, 1, 1]


def test_images_of_a_dead_process_are_judged_one_at_a_time(images: Images) -> None:
    # Given a process that died with four images in hand
    jobs = [images.accept(name) for name in "abcd"]
    dead = images.new_process()
    for job in jobs:
        dead.taken(job).__enter__()
    # When the next one takes them all up at once
    custody, inside, most = images.new_process(), threading.Semaphore(0), []
    present: list[str] = []

    def judge(job: InspectJob) -> int:
        with custody.taken(job) as claim:
            present.append(job.id)
            most.append(len(present))
            inside.acquire(timeout=0.02)
            present.remove(job.id)
            return claim.deliveries

    with ThreadPoolExecutor(4) as pool:
        deliveries = list(pool.map(judge, jobs))
    # Then never two of them are in work
    assert max(most) == 1
    assert deliveries == [2, 2, 2, 2]


def test_who_waits_while_a_neighbour_kills_the_process_is_not_blamed(images: Images) -> None:
    # Given two images of a dead process
    poison, innocent = images.accept("poison"), images.accept("innocent")
    dead = images.new_process()
    for job in (poison, innocent):
        dead.taken(job).__enter__()
    # When the next process dies of one while the other waits for its turn
    second = images.new_process()
    killing = second.taken(poison)  # kept: were it collected, it would end as if all were well
    killing.__enter__()
    waiting = threading.Thread(target=lambda: second.taken(innocent).__enter__(), daemon=True)
    waiting.start()
    waiting.join(0.1)
    # Then only that one is blamed
    assert waiting.is_alive()
    assert (images.deliveries("poison"), images.deliveries("innocent")) == (2, 1)


def test_an_image_of_a_dead_process_waits_for_the_fresh_ones_in_work(images: Images) -> None:
    fresh, suspect = images.accept("fresh"), images.accept("suspect")
    images.new_process().taken(suspect).__enter__()
    custody = images.new_process()
    with ThreadPoolExecutor(1) as pool, ExitStack() as held:
        held.enter_context(custody.taken(fresh))

        def judge() -> int:
            with custody.taken(suspect) as claim:
                return claim.deliveries

        judged = pool.submit(judge)
        with pytest.raises(TimeoutError):
            judged.result(0.05)
        held.close()
        assert judged.result(30) == 2


def test_an_image_that_has_its_answer_waits_for_nobody(images: Images) -> None:
    ended, held = images.accept("ended"), images.accept("held")
    images.new_process().taken(ended).__enter__()
    images.redis.hset(task_key("ended"), "finished_at", 1)
    custody = images.new_process()
    with custody.taken(held), custody.taken(ended) as claim:
        assert not claim.open
