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
from tests.chaos.faults import FAULTS, Fault
from tests.chaos.poisonable import POISON
from tests.chaos.stack import PATIENCE_S, Stack, stack
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
    wait_until(lambda: leftovers(stack.redis) == [])


def leftovers(redis: Redis) -> list[bytes]:
    """Keys of unfinished work."""
    keys = [OPEN_KEY, SENT_KEY, "inspect", "unacked", "unacked_index"]
    return [key.encode() for key in keys if redis.exists(key)] + redis.keys("scratch:upload:*")


def hurt(stack: Stack, fault: Fault, rng: random.Random) -> None:
    say(f"{time.strftime('%X')} {fault.__name__}")
    fault(stack, rng)


@pytest.fixture(scope="module")
def shared_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with stack(tmp_path_factory.mktemp("chaos")) as running:
        running.pace = 0.35
        yield running


@pytest.mark.timeout(300)
@pytest.mark.skipif(bool(_SECONDS), reason="`make chaos` runs the long form")
def test_a_poison_image_takes_nobody_along(shared_stack: Stack) -> None:
    account = Account(shared_stack.url)
    with httpx.Client(base_url=shared_stack.url, timeout=30) as client:
        poison = account.upload(client, jpeg() + POISON, "false")
        for seed in range(30):
            account.upload(client, jpeg(seed), "false")
    balance(shared_stack, account)

    assert poison and account.answers[poison] == {'"poison_image"'}
    assert account.outcomes() == {"poison_image": 1, "done": 30}


@pytest.mark.timeout(300)
@pytest.mark.skipif(bool(_SECONDS), reason="`make chaos` runs the long form")
def test_every_fault_once(shared_stack: Stack) -> None:
    rng = random.Random(_SEED)
    account = Account(shared_stack.url)
    with Clients(account, seed=_SEED):
        for fault in FAULTS:
            hurt(shared_stack, fault, rng)
            time.sleep(0.5)
    balance(shared_stack, account)


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
        except AssertionError:
            for program in running.programs:
                say(f"--- {program.name}\n{running.tail(program.name)}")
            raise
