"""One JSON object a line, whatever the message holds."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from shared.logs import configure_logs


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []  # else `force=True` closes pytest's own
    yield
    root.handlers, root.level = handlers, level


@pytest.mark.parametrize(
    "text", ['a\n{"level": "ERROR"}', "a\r\nb", "a\u2028b\x85c\x0bd", "\x1b[31mred", "\ud800", '"']
)
def test_no_text_can_forge_a_line(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("INFO")
    logging.getLogger("api").info("name: %s", text)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert json.loads(lines[0])["message"] == f"name: {text}"
    assert lines[0].isascii() and lines[0].isprintable()


def test_a_traceback_stays_within_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("INFO")
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        logging.getLogger("worker").exception("it failed")
    (line,) = capsys.readouterr().err.splitlines()
    assert "first\nsecond" in json.loads(line)["exc_info"]


def test_a_line_names_time_level_and_logger(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("WARNING")
    logging.getLogger("worker").warning("careful")
    logging.getLogger("worker").info("not shown")
    (line,) = capsys.readouterr().err.splitlines()
    fields = json.loads(line)
    assert fields.keys() == {"time", "level", "logger", "message"}
    assert (fields["level"], fields["logger"]) == ("WARNING", "worker")


def test_loggers_that_write_a_line_for_every_task_are_quiet(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logs("INFO")
    logging.getLogger("celery.app.trace").info("succeeded")
    assert capsys.readouterr().err == ""
