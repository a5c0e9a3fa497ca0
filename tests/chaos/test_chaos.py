"""Whatever breaks: accepted = done + failed, no id missing, no id with two answers.

`make test` runs each fault once. `make chaos SECONDS=300 SEED=7` breaks things at random, and
repeats itself for the same seed, as far as processes do.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from redis import Redis

from shared.records import OPEN_KEY, SENT_KEY
from tests.chaos.account import Account, Clients
from tests.chaos.faults import FAULTS, LONG_ONLY, Fault, frozen, full_disk
from tests.chaos.poisonable import POISON
from tests.chaos.stack import PATIENCE_S, Stack, small_disk, stack
from tests.integration.service import wait_until
from tests.photos import jpeg

_SECONDS = float(os.environ.get("CHAOS_SECONDS", "0"))
_SEED = int(os.environ.get("CHAOS_SEED", "1"))


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def balance(stack: Stack, account: Account) -> None:
    """Heals nothing: what was broken must have been healed. Prints and asserts the account."""
    wait_until(lambda: stack.ready_workers() == 2, PATIENCE_S * 2)
    took = account.settle(PATIENCE_S * 2)
    starts = {program.name: program.starts for program in stack.programs}
    say(f"\n{account}\nsettled after {took:.1f} s; starts {starts}")
    assert account.wrong == []
    assert sum(account.outcomes().values()) == len(account.accepted)
    # An upload that broke off within the api stays until its deadline would have passed.
    wait_until(lambda: leftovers(stack.redis) == [], PATIENCE_S * 2)


def leftovers(redis: Redis) -> list[bytes]:
    """Keys of unfinished work."""
    keys = [OPEN_KEY, SENT_KEY, "inspect"]
    return [key.encode() for key in keys if redis.exists(key)] + redis.keys("scratch:upload:*")


def hurt(stack: Stack, fault: Fault, rng: random.Random) -> None:
    say(f"{time.strftime('%X')} {fault.__name__}")
    fault(stack, rng)


@pytest.fixture(scope="module")
def small_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One stack for the short tests, with Redis on a small disk where we may make one."""
    folder = tmp_path_factory.mktemp("chaos")
    with small_disk(folder / "disk") as disk, stack(folder, data=disk) as running:
        running.pace = 0.35
        yield running


short = pytest.mark.skipif(bool(_SECONDS), reason="`make chaos` runs the long form")


@short
@pytest.mark.timeout(300)
def test_a_poison_image_takes_nobody_along(small_stack: Stack) -> None:
    account = Account(small_stack.url)
    with (
        httpx.Client(base_url=small_stack.url, timeout=30) as client,
        frozen(*small_stack.workers),  # so that a worker takes up the poison with others beside it
    ):
        poison = account.upload(client, jpeg() + POISON, "false")
        for seed in range(30):
            account.upload(client, jpeg(seed), "false")
    balance(small_stack, account)

    assert poison and account.answers[poison] == {'"poison_image"'}
    assert account.outcomes() == {"poison_image": 1, "done": 30}


@short
@pytest.mark.timeout(300)
def test_a_message_that_went_down_with_a_worker_is_sent_again(small_stack: Stack) -> None:
    account = Account(small_stack.url)
    wait_until(lambda: small_stack.ready_workers() == 2)
    with httpx.Client(base_url=small_stack.url, timeout=30) as client:
        with frozen(*small_stack.workers):
            for seed in range(30):
                account.upload(client, jpeg(seed), "false")
            # Taken from the queue and noted nowhere, as by a worker that dies in that instant.
            assert small_stack.redis.rpop("inspect", 5)
        balance(small_stack, account)

    assert account.outcomes() == {"done": 30}


@short
@pytest.mark.timeout(300)
def test_every_fault_once(small_stack: Stack) -> None:
    rng = random.Random(_SEED)
    account = Account(small_stack.url)
    with Clients(account, seed=_SEED):
        for fault in sorted(set(FAULTS) - LONG_ONLY, key=FAULTS.index):
            hurt(small_stack, fault, rng)
            time.sleep(0.5)
    balance(small_stack, account)

    assert set(account.outcomes()) == {"done"}


@short
@pytest.mark.timeout(300)
def test_readiness_follows_what_is_lost_and_comes_back(small_stack: Stack) -> None:
    wait_until(lambda: small_stack.ready_workers() == 2)
    for name, lost in (("workers", small_stack.workers), ("Redis", [small_stack.redis_program])):
        with frozen(*lost):
            began = time.monotonic()
            wait_until(lambda: small_stack.ready_workers() == 0)
            red_s = time.monotonic() - began
        healed = time.monotonic()
        wait_until(lambda: small_stack.ready_workers() == 2)
        green_s = time.monotonic() - healed
        say(f"{name} lost: red after {red_s:.1f} s; back: green after {green_s:.1f} s")
        assert red_s < 10  # 5 promised, and a busy machine


@short
@pytest.mark.timeout(300)
def test_a_full_disk_refuses_and_loses_nothing(small_stack: Stack) -> None:
    if small_stack.data == small_stack.folder:
        pytest.skip("needs root, to mount a small disk")
    account = Account(small_stack.url)
    wait_until(lambda: small_stack.ready_workers() == 2)
    with Clients(account, seed=_SEED):
        wait_until(lambda: len(account.accepted) >= 5)
        with full_disk(small_stack.data):
            wait_until(lambda: account.refused["broker_unavailable"] >= 3)
    balance(small_stack, account)

    assert set(account.outcomes()) == {"done"}


@pytest.mark.skipif(not _SECONDS, reason="long: `make chaos`")
@pytest.mark.timeout(_SECONDS + 600)
def test_faults_at_random(tmp_path: Path) -> None:
    rng = random.Random(_SEED)
    with stack(tmp_path) as running:
        account = Account(running.url)
        stop_at = time.monotonic() + _SECONDS
        with Clients(account, seed=_SEED), httpx.Client(base_url=running.url, timeout=30) as client:
            while time.monotonic() < stop_at:
                time.sleep(rng.uniform(1, 5))
                if rng.random() < 0.1:
                    account.upload(client, jpeg() + POISON, "false")
                hurt(running, rng.choice(FAULTS), rng)
        try:
            balance(running, account)
            assert set(account.outcomes()) <= {"done", "poison_image"}  # none was only given up
        except AssertionError:
            for program in running.programs:
                say(f"--- {program.name}\n{running.tail(program.name)}")
            raise
