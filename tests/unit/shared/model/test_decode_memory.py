"""Small files that ask for much memory: how much a process of its own takes for them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.unit.shared import image_files as files

ROOT = Path(__file__).parents[4]
#: of a process that has read one small image
SLACK_MIB = 60
MEASURE = """
import json, sys, pathlib
from concurrent.futures import ThreadPoolExecutor
from shared.errors import ImageError
from shared.model.decode import decode

def peak():
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024

def outcome(data):
    try:
        return list(decode(data, min_side=224, max_pixels=int(sys.argv[2]), max_side=20_000).shape)
    except ImageError as error:
        return error.code

first, *rest = [path.read_bytes() for path in sorted(pathlib.Path(sys.argv[1]).iterdir())]
outcome(first)
before = peak()
with ThreadPoolExecutor(8) as pool:
    found = list(pool.map(outcome, rest))
print(json.dumps([found, peak() - before]))
"""


def measured(folder: Path, bombs: list[bytes], *, max_pixels: int) -> tuple[list[object], float]:
    """What becomes of files that are decoded at once, and the MiB it takes."""
    for number, data in enumerate([files.encode(files.scene(), "PNG"), *bombs]):
        (folder / f"{number:02}").write_bytes(data)
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", MEASURE, str(folder), str(max_pixels)],
        cwd=ROOT, capture_output=True, text=True, check=True,
        # else glibc keeps for each thread what the thread before has freed
        env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"},
    )  # fmt: skip
    outcomes, taken = json.loads(run.stdout)
    return outcomes, taken


def test_what_is_beyond_the_limit_takes_no_memory(tmp_path: Path) -> None:
    bombs = [claim(60_000, 60_000) for claim in files.CLAIMS.values()]
    bombs.append(files.lying_avif(7_000, 6_000))
    bombs.append(files.tiff(16, 16, tile=20_000, data=b"\0" * 99))

    outcomes, taken = measured(tmp_path, bombs, max_pixels=40_000_000)

    assert set(outcomes) == {"image_too_large"}
    assert taken < SLACK_MIB


@pytest.mark.parametrize("form", ["WEBP", "PNG"])
def test_many_large_images_at_once_take_the_memory_of_one(tmp_path: Path, form: str) -> None:
    side = 2_000
    bomb = files.encode(Image.new("RGBA", (side, side), (1, 2, 3, 4)), form)
    assert len(bomb) < 20_000

    outcomes, taken = measured(tmp_path, [bomb] * 8, max_pixels=side * side)

    assert outcomes == [[side, side, 3]] * 8
    assert taken < SLACK_MIB + 30 * side * side / 2**20
