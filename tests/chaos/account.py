"""Steady uploads, and the account of what became of each: accepted = done + failed."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.photos import jpeg

#: answers that refuse an upload without having accepted it, by their stable codes
REFUSALS = {
    "unavailable", "queue_full", "broker_unavailable", "storage_full", "deadline_unreachable",
}  # fmt: skip


@dataclass
class Account:
    """What clients were told. `settle` says whether it balances."""

    url: str
    #: ids by the moment of their acceptance
    accepted: dict[str, float] = field(default_factory=dict)
    #: every final answer that anybody was given, by id
    answers: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    refused: Counter[str] = field(default_factory=Counter)
    #: requests that broke off: their clients know of no id
    broken: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def upload(self, client: httpx.Client, image: bytes, wait: str) -> str | None:
        """The id, when the upload was accepted."""
        try:
            answer = client.post(
                "/upload_image", files={"file": ("a.jpg", image)}, params={"wait": wait}
            )
        except httpx.HTTPError as error:
            self.broken[type(error).__name__] += 1
            return None
        with self._lock:
            return self._enter(answer)

    def _enter(self, answer: httpx.Response) -> str | None:
        task_id, body = answer.headers.get("x-task-id"), answer.json()
        if task_id:
            self.accepted[task_id] = time.monotonic()
            if answer.status_code != 202:
                self._told(task_id, body if answer.is_success else body["code"])
        elif answer.status_code == 503 and body["code"] in REFUSALS:
            self.refused[body["code"]] += 1
            if "retry-after" not in answer.headers:
                self.wrong.append(f"503 without Retry-After: {body}")
        else:
            self.wrong.append(f"{answer.status_code} {body}")
        return task_id

    def _told(self, task_id: str, answer: object) -> None:
        self.answers[task_id].add(json.dumps(answer, sort_keys=True))

    def look(self, client: httpx.Client, task_id: str) -> bool:
        """Asks for a task; whether it has its answer."""
        try:
            answer = client.get(f"/tasks/{task_id}")
        except httpx.HTTPError as error:
            self.broken[type(error).__name__] += 1
            return False
        view: dict[str, Any] = answer.json()
        with self._lock:
            if answer.status_code == 503:
                return False
            if answer.status_code != 200:
                self.wrong.append(f"accepted {task_id} is {answer.status_code} {view}")
                return True
            if view["status"] in ("done", "failed"):
                self._told(task_id, view["result"] or view["error"]["code"])
                return True
            return False

    def settle(self, patience_s: float) -> float:
        """Asks for every id until each has its answer; the seconds that took.

        Asks again for those that already had one: it must not have changed.
        """
        began = time.monotonic()
        waiting = set(self.accepted)
        with httpx.Client(base_url=self.url, timeout=20) as client:
            while waiting and time.monotonic() - began < patience_s:
                waiting -= {task_id for task_id in waiting if self.look(client, task_id)}
                time.sleep(0.2)
        took = time.monotonic() - began
        self.wrong += [f"{task_id} has no answer" for task_id in waiting]
        self.wrong += [
            f"{task_id} has two answers: {answers}"
            for task_id, answers in self.answers.items()
            if len(answers) > 1
        ]
        return took

    def outcomes(self) -> Counter[str]:
        """How many ended how: `done`, or the code of the failure."""
        found = (json.loads(next(iter(answers))) for answers in self.answers.values())
        return Counter(answer if isinstance(answer, str) else "done" for answer in found)

    def __str__(self) -> str:
        outcomes = self.outcomes()
        failed = {code: n for code, n in outcomes.items() if code != "done"}
        return (
            f"accepted {len(self.accepted)} = done {outcomes['done']} + failed {failed or 0}; "
            f"refused {dict(self.refused)}; broken off {dict(self.broken)}"
        )


class Clients:
    """Uploads and polls, by several threads, until they are stopped."""

    def __init__(self, account: Account, *, seed: int, threads: int = 3, pause_s: float = 0.15):
        self.account = account
        self._seed = seed
        self._pause_s = pause_s
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(threads)]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(60)

    def _run(self, number: int) -> None:
        rng = random.Random(f"{self._seed} {number}")
        images = [jpeg(rng.randrange(10**6)) for _ in range(8)]
        with httpx.Client(base_url=self.account.url, timeout=30) as client:
            while not self._stopped.wait(rng.uniform(0, 2 * self._pause_s)):
                wait = rng.choice(["false", "false", "0.5", "5"])
                self.account.upload(client, rng.choice(images), wait)
                known = list(self.account.accepted)
                if known:
                    self.account.look(client, rng.choice(known))
