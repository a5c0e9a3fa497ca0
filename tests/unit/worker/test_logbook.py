from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

from shared.contract import Failure, Outcome, Prediction, Ruling
from worker.logbook import Logbook

RULING = Ruling(verdict="clean", bound="missed scratches at most 1 %")


def prediction(task_id: str) -> Outcome:
    answer = Prediction(pred="scratches", prob_no_scratches=0.25, prob_scratches=0.75)
    return Outcome(
        id=task_id,
        sha256="ab",
        prediction=answer,
        ruling=RULING,
        model="m@1",
        variant="v",
        timings_ms={"queue": 1},
    )


def write(path: Path, first: int, count: int, max_bytes: int) -> None:
    logbook = Logbook(path, max_bytes=max_bytes, backups=50)
    for number in range(first, first + count):
        logbook.write(prediction(str(number)))
    logbook.close()


def test_a_line_says_what_was_inspected_by_what_and_how_it_went(tmp_path: Path) -> None:
    write(tmp_path / "log.txt", 0, 1, 10_000)

    entry = json.loads((tmp_path / "log.txt").read_text())

    assert entry.pop("time").endswith("+00:00")
    assert entry == {
        "task_id": "0", "sha256": "ab", "outcome": "done", "pred": "scratches",
        "prob_no_scratches": 0.25, "prob_scratches": 0.75, "model": "m@1", "variant": "v",
        "ruling": RULING.encode(), "timings_ms": {"queue": 1.0},
    }  # fmt: skip


def test_text_from_outside_cannot_forge_a_line(tmp_path: Path) -> None:
    logbook = Logbook(tmp_path / "log.txt", max_bytes=10_000, backups=1)
    failure = Failure(code="corrupt_image", message='x\n{"outcome": "done"}\u2028\x1b[2J %s')
    logbook.write(Outcome(id="1", sha256="", failure=failure, model="m", variant="v"))
    logbook.close()

    (line,) = (tmp_path / "log.txt").read_text().splitlines()
    assert json.loads(line)["error"]["message"] == failure.message
    assert line.isprintable()


def test_several_processes_lose_and_mix_no_line_while_the_log_rotates(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=write, args=(path, 200 * n, 200, 20_000)) for n in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)

    files = [file for file in tmp_path.iterdir() if file.name.startswith("log.txt")]
    lines = [line for file in files for line in file.read_text().splitlines()]
    assert len(files) > 1
    assert sorted(int(json.loads(line)["task_id"]) for line in lines) == list(range(600))
