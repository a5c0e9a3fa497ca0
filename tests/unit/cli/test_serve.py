from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from cli.serve import _died


@pytest.mark.parametrize(
    ("before", "after", "died"),
    [
        ({}, {"worker": 7}, []),
        ({"worker": 7, "api": 8}, {"worker": 7, "api": 8}, []),
        ({"worker": 7, "api": 8}, {"worker": 9, "api": 8}, ["worker"]),  # already started again
        ({"worker": 7}, {"worker": 0}, ["worker"]),  # supervisord waits before it tries again
        ({}, {"worker": 0}, []),  # not started yet
    ],
)
def test_a_program_that_ended_is_known_by_its_process(
    tmp_path: Path, before: dict[str, int], after: dict[str, int], died: list[str]
) -> None:
    found: list[Any] = [{"name": name, "pid": pid} for name, pid in after.items()]
    with mock.patch("cli.serve.ServerProxy") as proxy:
        proxy.return_value.supervisor.getAllProcessInfo.return_value = found

        assert _died(tmp_path, dict(before)) == died


def test_a_supervisor_that_does_not_listen_yet_knows_of_no_death(tmp_path: Path) -> None:
    with mock.patch("cli.serve.ServerProxy") as proxy:
        proxy.return_value.supervisor.getAllProcessInfo.side_effect = ConnectionRefusedError

        assert _died(tmp_path, {"worker": 7}) == []
