from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from cli.output import image_files, report

ANSWER = {"file": "a.jpg", "pred": "scratches", "prob_no_scratches": 0.25, "prob_scratches": 0.75}
REFUSED = {"file": "b.jpg", "error": {"code": "corrupt_image", "message": "Damaged."}}


def test_folders_are_searched_for_images_and_named_files_are_taken_as_they_are(
    tmp_path: Path,
) -> None:
    for name in ("b.jpg", "a.PNG", "notes.txt", "deep/er/c.tif"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    found = image_files([tmp_path, tmp_path / "notes.txt"])

    names = [str(file.relative_to(tmp_path)) for file in found]
    assert names == ["a.PNG", "b.jpg", "deep/er/c.tif", "notes.txt"]


def test_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert report([ANSWER, REFUSED], total=2, as_json=True) == 1

    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line) for line in lines] == [ANSWER, REFUSED]


def test_people_read_label_probability_and_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert report([ANSWER], total=1, as_json=False) == 0

    assert capsys.readouterr().out.split() == ["scratches", "0.750", "a.jpg"]


def test_a_file_name_cannot_drive_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    report([{**ANSWER, "file": "\x1b[2J\n.jpg"}], total=1, as_json=False)

    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert out.count("\n") == 1


def test_a_file_gets_every_line_while_a_terminal_shows_the_bar(tmp_path: Path) -> None:
    program = (
        "from cli.output import report\n"
        "report([{'file': 'a.jpg', 'error': {'message': 'x'}}] * 3, total=3, as_json=True)\n"
    )
    seen, terminal = pty.openpty()
    with (tmp_path / "out").open("w") as out:
        subprocess.run([sys.executable, "-c", program], stdout=out, stderr=terminal, check=True)
    os.close(terminal)

    assert len((tmp_path / "out").read_text().splitlines()) == 3
    shown = b""
    with suppress(OSError):  # the terminal has ended, and all that it showed was read
        while data := os.read(seen, 100_000):
            shown += data
    assert b"100%" in shown
    os.close(seen)


def test_a_folder_without_images_is_not_a_success(capsys: pytest.CaptureFixture[str]) -> None:
    assert report([], total=0, as_json=True) == 1

    assert "no images" in capsys.readouterr().err
