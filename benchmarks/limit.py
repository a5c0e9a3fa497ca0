"""What the machine can do: our own decode, preprocess and forward in a loop, no HTTP, no queue.

Every sensible way of using the cores is tried twice; the better of the best two is the limit, in
each round anew: a way that was disturbed once must not pass for what the machine can do.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shared.model.inspector import open_inspector


@dataclass(frozen=True)
class Way:
    """`decoders`: threads that decode ahead while the batch before runs; 0: in the loop itself."""

    processes: int
    threads: int
    batch: int
    decoders: int = 0


def ways(cores: int) -> list[Way]:
    return [
        Way(1, cores, 1),
        Way(1, cores, 8, decoders=cores),
        Way(cores, 1, 1),
        Way(cores, 1, 8),
    ]


def _loop(way: Way, ckpt: Path, precision: Any, images: Path, seconds: float) -> float:
    """Images a second of one process."""
    inspector = open_inspector(ckpt, runtime="openvino", precision=precision, threads=way.threads)
    files = itertools.cycle([path.read_bytes() for path in sorted(images.iterdir())])
    inspector.warm_up(way.batch)
    done = 0
    started = time.perf_counter()
    with ThreadPoolExecutor(way.decoders or 1) as pool:
        batches = _batches(way, pool, inspector.preprocess, files)
        while time.perf_counter() - started < seconds:
            for row in inspector.forward(np.stack(next(batches))):
                inspector.postprocess(row)
            done += way.batch
        return done / (time.perf_counter() - started)


def _batches(
    way: Way, pool: ThreadPoolExecutor, preprocess: Any, files: Iterator[bytes]
) -> Iterator[list[Any]]:
    if not way.decoders:
        while True:
            yield [preprocess(next(files)) for _ in range(way.batch)]
    ahead = [pool.submit(preprocess, next(files)) for _ in range(2 * way.batch)]
    while True:
        now, ahead = ahead[: way.batch], ahead[way.batch :]
        ahead += [pool.submit(preprocess, next(files)) for _ in range(way.batch)]
        yield [future.result() for future in now]


class Limit:
    """Images a second, by the ways that were best the first time a folder was measured."""

    def __init__(self, ckpt: Path, precision: str) -> None:
        self._ckpt = ckpt
        self._precision = precision
        self._best: dict[Path, list[Way]] = {}

    def per_s(self, images: Path, seconds: float) -> float:
        if images not in self._best:
            tried = [
                (self._measure(way, images, 3), way)
                for _ in range(2)
                for way in ways(os.cpu_count() or 1)
            ]
            ranked = sorted(tried, key=lambda one: one[0], reverse=True)
            self._best[images] = list(dict.fromkeys(way for _, way in ranked))[:2]
        return max(self._measure(way, images, seconds) for way in self._best[images])

    def _measure(self, way: Way, images: Path, seconds: float) -> float:
        context = multiprocessing.get_context("spawn")
        with context.Pool(way.processes) as pool:
            one = (way, self._ckpt, self._precision, images, seconds)
            return sum(pool.starmap(_loop, [one] * way.processes, chunksize=1))
