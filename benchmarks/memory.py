"""Resident memory of each process at rest and under load, and the time from start to ready."""

from __future__ import annotations

import argparse
import statistics
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import psutil

from benchmarks.photos import photos
from benchmarks.processes import service
from benchmarks.report import table, write
from benchmarks.wrk import closed_loop

_PROGRAMS = {"-m api": "api", "worker.app": "worker", "flower": "flower", "redis-server": "redis"}


def resident_mb() -> dict[str, float]:
    """By program, of the stack that this process started: resident set size, in megabytes."""
    found: dict[str, float] = {}
    for process in psutil.Process().children(recursive=True):
        try:
            command = " ".join(process.cmdline())
            name = next((n for words, n in _PROGRAMS.items() if words in command), None)
            if name:
                found[name] = found.get(name, 0) + process.memory_info().rss / 2**20
        except psutil.NoSuchProcess:
            continue
    return found


class Peak(threading.Thread):
    """Looks ten times a second until it is stopped."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.found: dict[str, float] = {}
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.wait(0.1):
            for name, size in resident_mb().items():
                self.found[name] = max(size, self.found.get(name, 0))

    def stop(self) -> dict[str, float]:
        self._stopped.set()
        self.join()
        return self.found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--work", type=Path, default=Path(".data/benchmarks"))
    options = parser.parse_args()
    rest: dict[str, list[float]] = {}
    peak: dict[str, list[float]] = {}
    ready_s = []
    for _ in range(options.rounds):
        with TemporaryDirectory() as temporary:
            started = time.perf_counter()
            with service(Path(temporary)) as target:
                ready_s.append(time.perf_counter() - started)
                time.sleep(2)
                for name, size in resident_mb().items():
                    rest.setdefault(name, []).append(size)
                watch = Peak()
                watch.start()
                for kind in ("web", "phone"):
                    images = photos(kind, options.work / "photos")
                    closed_loop(target, images, connections=16, seconds=options.seconds)
                for name, size in watch.stop().items():
                    peak.setdefault(name, []).append(size)
                httpx.get(f"{target.url}/readyz").raise_for_status()
    rows = [
        [name, f"{statistics.median(rest[name]):.0f}", f"{statistics.median(peak[name]):.0f}"]
        for name in rest
    ]
    print(table(["process", "at rest, MB", "at peak, MB"], rows))
    print(f"start to first answer: {statistics.median(ready_s):.1f} s")
    write(
        options.work / "memory.json", {"rest_mb": rest, "peak_mb": peak, "first_answer_s": ready_s}
    )


if __name__ == "__main__":
    main()
