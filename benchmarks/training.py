"""Seconds of `scratch train` on a folder: from nothing, again, and when only the head changes.

    python -m benchmarks.training FOLDER [--rounds 3]

Wall time says what a user waits for, processor time (of all its processes) what it cost: on a busy
machine the second is to be trusted. The ratio is of each round to the cold one.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.processes import ROOT
from benchmarks.report import median, ratio, spread, table, write


def train(photos: Path, folder: Path, name: str) -> tuple[float, float]:
    """Wall and processor seconds. Raises CalledProcessError."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "cli.main", "train", str(photos), "--name", name]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - began, spent


def workplace(folder: Path, seed: int = 0) -> None:
    """Where `scratch train` finds what it needs and nothing it made before."""
    for name in ("ckpts/scratch-lite", "training", "shared", "cli", "api", "worker", "scratch"):
        link = folder / name
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(ROOT / name)
    set_seed(folder, seed)


def set_seed(folder: Path, seed: int) -> None:
    """Another seed of the head: everything before it stays as it is."""
    params = (ROOT / "params.yaml").read_text()
    assert params.count("train:\n  seed: 0") == 1  # noqa: S101
    text = params.replace("train:\n  seed: 0", f"train:\n  seed: {seed}")
    (folder / "params.yaml").write_text(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=Path, default=Path(".data/benchmarks"))
    options = parser.parse_args()
    photos = options.photos.resolve()
    wall: dict[str, list[float]] = {"cold": [], "head alone": []}
    spent: dict[str, list[float]] = {name: [] for name in wall}
    for number in range(options.rounds):
        with TemporaryDirectory() as name:
            folder = Path(name)
            workplace(folder)
            for case in wall:
                took, cost = train(photos, folder, f"round-{number}-{case.replace(' ', '-')}")
                wall[case].append(took)
                spent[case].append(cost)
                set_seed(folder, number + 1)
    rows = [
        [case, spread(wall[case]), spread(spent[case]), f"{ratio(spent[case], spent['cold']):.2f}"]
        for case in wall
    ]
    print(table(["", "wall, s", "processor, s", "of cold"], rows))
    print(f"cold: {median(wall['cold']):.0f} s")
    write(options.work / "training.json", {"wall_s": wall, "processor_s": spent})


if __name__ == "__main__":
    main()
