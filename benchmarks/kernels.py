"""Images a second of the forward pass alone, by model, runtime, precision and batch size."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import numpy as np

from benchmarks.report import ratio, spread, table, write
from shared.errors import CheckpointError
from shared.model.inspector import Inspector, open_inspector
from shared.model.manifest import Precision
from shared.model.runtime import RuntimeName

_BATCHES = (1, 8)


def per_s(inspector: Inspector, batch: int, seconds: float) -> float:
    spec = inspector.manifest.preprocess
    shape = (batch, spec.view_count, spec.size, spec.size, 3)
    views = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    done, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        inspector.forward(views)
        done += batch
    return done / (time.perf_counter() - started)


def variants(ckpt: Path) -> dict[str, Inspector]:
    """Every runtime and precision that this checkpoint and this machine have."""
    found: dict[str, Inspector] = {}
    runtimes: tuple[RuntimeName, ...] = ("openvino", "torch")
    for runtime in runtimes:
        for precision in get_args(Precision):
            try:
                inspector = open_inspector(ckpt, runtime=runtime, precision=precision)
            except CheckpointError as error:
                print(f"{ckpt.name}: {runtime} {precision}: {error}")
                continue
            for batch in _BATCHES:
                inspector.warm_up(batch)
            found[inspector.runtime.variant] = inspector
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ckpts", type=Path, nargs="+", default=[Path("ckpts/scratch-lite")])
    parser.add_argument(
        "--random",
        nargs="*",
        default=["MobileCLIP-S1", "ViT-B-32"],
        help="open_clip models that are measured with random weights",
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--work", type=Path, default=Path(".data/benchmarks"))
    options = parser.parse_args()
    results: list[dict[str, Any]] = []
    with TemporaryDirectory() as temporary:
        from benchmarks.random_checkpoint import random_checkpoint

        made = [random_checkpoint(name, Path(temporary)) for name in options.random]
        for ckpt in [*options.ckpts, *made]:
            results += measure(ckpt, options.rounds, options.seconds)
    rows = [
        [r["model"], r["variant"], str(r["batch"]), spread(r["per_s"]), f"{r['ratio']:.2f}"]
        for r in results
    ]
    print(table(["model", "variant", "batch", "images/s (range)", "against torch f32"], rows))
    write(options.work / "kernels.json", {"forward": results})


def measure(ckpt: Path, rounds: int, seconds: float) -> list[dict[str, Any]]:
    opened = variants(ckpt)
    found: dict[tuple[str, int], list[float]] = {(n, b): [] for n in opened for b in _BATCHES}
    for _ in range(rounds):
        for (name, batch), speeds in found.items():
            speeds.append(per_s(opened[name], batch, seconds))
    return [
        {
            "model": ckpt.name,
            "variant": name,
            "batch": batch,
            "per_s": speeds,
            "ratio": ratio(speeds, found["torch/f32/cpu", batch]),
        }
        for (name, batch), speeds in found.items()
    ]


if __name__ == "__main__":
    main()
