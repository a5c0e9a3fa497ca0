"""Images a second over HTTP, against the limit and against other servers, in interleaved rounds."""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.contestants import ORIGINAL, PEERS, Contestants, Setup, contestants
from benchmarks.photos import Kind, photos
from benchmarks.report import ratio, spread, table, write

Case = tuple[Kind, int]


def measure(
    entered: Contestants, cases: list[Case], folder: Path, rounds: int, seconds: float
) -> dict[Case, dict[str, list[float]]]:
    """Images a second of each round, by case and contestant; every round has all of them."""
    found: dict[Case, dict[str, list[float]]] = {
        case: {name: [] for name in entered.names} for case in cases
    }
    for name in entered.names:  # the first answers of anything are slow
        entered.measure(name, photos("web", folder), connections=4, seconds=2)
    for number in range(rounds):
        for case in cases:
            kind, connections = case
            names = entered.names if number % 2 == 0 else entered.names[::-1]
            for name in names:
                images = photos(kind, folder)
                speed = entered.measure(name, images, connections=connections, seconds=seconds)
                found[case][name].append(speed)
                print(f"{number + 1}/{rounds} {kind} {connections} {name}: {speed:.1f}", flush=True)
    return found


def show(found: dict[Case, dict[str, list[float]]]) -> str:
    rows = [
        [kind, str(connections), name, spread(speeds), f"{ratio(by_name['ours'], speeds):.2f}"]
        for (kind, connections), by_name in found.items()
        for name, speeds in by_name.items()
    ]
    return table(["photos", "connections", "contestant", "images/s (range)", "ours / it"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ckpt", type=Path, default=Path("ckpts/scratch-lite"))
    parser.add_argument("--precision", default="auto")
    peers = [name for name in PEERS if name != ORIGINAL]  # so slow that it would take the time
    parser.add_argument("--peers", nargs="*", choices=list(PEERS), default=peers)
    parser.add_argument("--kinds", nargs="+", choices=["web", "phone"], default=["web", "phone"])
    parser.add_argument("--connections", nargs="+", type=int, default=[1, 4, 16, 64])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--work", type=Path, default=Path(".data/benchmarks"))
    parser.add_argument("--name", default="throughput", help="of the JSON")
    options = parser.parse_args()
    cases = [(kind, connections) for kind in options.kinds for connections in options.connections]
    with TemporaryDirectory() as temporary:
        setup = Setup(ckpt=options.ckpt, precision=options.precision, work=Path(temporary))
        with contestants(setup, options.peers) as entered:
            found = measure(
                entered, cases, options.work / "photos", options.rounds, options.seconds
            )
    print(show(found))
    write(
        options.work / f"{options.name}.json",
        {
            "checkpoint": options.ckpt.name,
            "precision": options.precision,
            "images_per_s": [
                {"photos": kind, "connections": connections, **by_name}
                for (kind, connections), by_name in found.items()
            ],
        },
    )


if __name__ == "__main__":
    main()
