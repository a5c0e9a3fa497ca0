"""Open-loop load: photos leave at their times, whether or not earlier ones were answered.

A closed loop slows down with the server and hides its worst moments (coordinated omission); here
latency counts from the moment at which a photo was due.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import numpy as np

from benchmarks.wrk import Target

_TIMEOUT_S = 120


@dataclass(frozen=True)
class Answer:
    """`latency_s` from when it was due; `status` 0 when the connection failed."""

    latency_s: float
    status: int
    task_id: str


@dataclass(frozen=True)
class Answers:
    all: list[Answer]

    @property
    def statuses(self) -> dict[int, int]:
        return dict(Counter(answer.status for answer in self.all))

    def latencies_ms(self, status: int = 200) -> list[float]:
        return [1e3 * answer.latency_s for answer in self.all if answer.status == status]

    def percentiles_ms(self, status: int = 200) -> dict[str, float]:
        found = self.latencies_ms(status)
        return {f"p{q}": float(np.percentile(found, q)) for q in (50, 95, 99)} if found else {}


def open_loop(target: Target, images: Path, *, per_s: float, seconds: float) -> Answers:
    """`per_s` photos a second, evenly spaced, for `seconds`; waits for every answer."""
    return asyncio.run(_send_all(target, images, per_s, seconds))


async def _send_all(target: Target, images: Path, per_s: float, seconds: float) -> Answers:
    photos = itertools.cycle([path.read_bytes() for path in sorted(images.iterdir())])
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        started = time.perf_counter()
        sending = []
        for number in range(round(per_s * seconds)):
            due = started + number / per_s
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            sending.append(asyncio.create_task(_send(session, target, next(photos), due)))
        return Answers(await asyncio.gather(*sending))


async def _send(session: aiohttp.ClientSession, target: Target, photo: bytes, due: float) -> Answer:
    body: bytes | aiohttp.FormData = photo
    if target.field:
        body = aiohttp.FormData()
        body.add_field(target.field, photo, filename="a.jpg", content_type="image/jpeg")
    try:
        async with session.post(target.url + target.route, data=body) as response:
            await response.read()
            task_id = response.headers.get("X-Task-Id", "")
            return Answer(time.perf_counter() - due, response.status, task_id)
    except (aiohttp.ClientError, TimeoutError):
        return Answer(time.perf_counter() - due, 0, "")
