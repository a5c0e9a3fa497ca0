"""How long one photo takes: alone, and at half and four fifths of what the service can do."""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from benchmarks.contestants import Contestants, Setup, contestants
from benchmarks.openloop import Answers, open_loop
from benchmarks.photos import photos
from benchmarks.report import median, spread, table, write
from benchmarks.wrk import Target

#: tasks whose own timings are asked for
_SAMPLE = 50
_SHARES = (0.5, 0.8)
_RIVAL = "in process +ours"


def alone(
    entered: Contestants, images: Path, rounds: int, seconds: float
) -> dict[str, list[float]]:
    """p50 in milliseconds of each round over one connection; the model in process beside us."""
    found: dict[str, list[float]] = {"ours": [], _RIVAL: []}
    for _ in range(rounds):
        for name, medians in found.items():
            load = entered.load(name, images, connections=1, seconds=seconds)
            medians.append(load.p50_ms)
    return found


def stages(target: Target, answers: Answers) -> dict[str, float]:
    """Median milliseconds by stage; `receive, store and answer` is what no stage accounts for."""
    sample = [answer for answer in answers.all if answer.status == httpx.codes.OK][:_SAMPLE]
    by_stage: dict[str, list[float]] = {}
    with httpx.Client(base_url=target.url) as client:
        for answer in sample:
            timings = client.get(f"/tasks/{answer.task_id}").json()["timings_ms"]
            rest = answer.latency_s * 1e3 - sum(timings.values())
            for stage, took in {**timings, "receive, store and answer": rest}.items():
                by_stage.setdefault(stage, []).append(took)
    return {stage: statistics.median(took) for stage, took in by_stage.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ckpt", type=Path, default=Path("ckpts/scratch-lite"))
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--work", type=Path, default=Path(".data/benchmarks"))
    options = parser.parse_args()
    images = photos("web", options.work / "photos")
    with TemporaryDirectory() as temporary:
        setup = Setup(ckpt=options.ckpt, precision=options.precision, work=Path(temporary))
        with contestants(setup, ["in process"]) as entered:
            entered.measure("ours", images, connections=4, seconds=2)
            single = alone(entered, images, options.rounds, options.seconds)
            capacity = median(
                [
                    entered.measure("ours", images, connections=16, seconds=options.seconds)
                    for _ in range(options.rounds)
                ]
            )
            loaded = {
                share: open_loop(
                    entered.target("ours"),
                    images,
                    per_s=capacity * share,
                    seconds=options.rounds * options.seconds,
                )
                for share in _SHARES
            }
            split = {share: stages(entered.target("ours"), got) for share, got in loaded.items()}
    print(f"one connection, p50 ms: { ({k: spread(v) for k, v in single.items()}) }")
    rows = [
        [f"{share:.0%} of {capacity:.0f}/s", *(f"{v:.1f}" for v in got.percentiles_ms().values())]
        for share, got in loaded.items()
    ]
    print(table(["open loop", "p50 ms", "p95 ms", "p99 ms"], rows))
    names = list(split[_SHARES[0]])
    rows = [[name, *(f"{split[share].get(name, 0):.2f}" for share in _SHARES)] for name in names]
    print(table(["stage, median ms", *(f"{share:.0%}" for share in _SHARES)], rows))
    write(
        options.work / "latency.json",
        {
            "p50_ms_alone": single,
            "capacity_per_s": capacity,
            "open_loop_ms": {str(share): got.percentiles_ms() for share, got in loaded.items()},
            "statuses": {str(share): got.statuses for share, got in loaded.items()},
            "stages_ms": {str(share): by_stage for share, by_stage in split.items()},
        },
    )


if __name__ == "__main__":
    main()
