"""Four times what the service can do, open loop: what is answered, what is refused, how late."""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.openloop import open_loop
from benchmarks.photos import photos
from benchmarks.processes import service
from benchmarks.report import median, table, write
from benchmarks.wrk import closed_loop

_TIMES = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wait", type=float, default=5, help="SCRATCH_WAIT_S of the service")
    parser.add_argument("--queue-limit", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--work", type=Path, default=Path(".data/benchmarks"))
    options = parser.parse_args()
    images = photos("web", options.work / "photos")
    limits = {
        "SCRATCH_WAIT_S": str(options.wait),
        "SCRATCH_QUEUE_LIMIT": str(options.queue_limit),
    }
    with TemporaryDirectory() as temporary, service(Path(temporary), **limits) as target:
        closed_loop(target, images, connections=4, seconds=2)
        capacity = median(
            [closed_loop(target, images, connections=16, seconds=5).per_s for _ in range(3)]
        )
        answers = open_loop(target, images, per_s=_TIMES * capacity, seconds=options.seconds)
    rows = [
        [
            str(status),
            str(count),
            f"{count / len(answers.all):.0%}",
            *(f"{took:.0f}" for took in answers.percentiles_ms(status).values()),
        ]
        for status, count in sorted(answers.statuses.items())
    ]
    answered = answers.statuses.get(200, 0) / options.seconds
    print(f"capacity {capacity:.0f}/s, sent {_TIMES * capacity:.0f}/s, answered {answered:.0f}/s")
    print(table(["status", "count", "share", "p50 ms", "p95 ms", "p99 ms"], rows))
    write(
        options.work / "overload.json",
        {
            "capacity_per_s": capacity,
            "answered_per_s": answered,
            "wait_s": options.wait,
            "queue_limit": options.queue_limit,
            "statuses": answers.statuses,
            "latency_ms": {str(s): answers.percentiles_ms(s) for s in answers.statuses},
        },
    )


if __name__ == "__main__":
    main()
