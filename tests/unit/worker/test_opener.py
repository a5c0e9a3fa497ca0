"""A model is warm for every batch that it may meet."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from shared.settings import Settings
from worker.opener import Opener


@pytest.mark.parametrize(("asked", "largest"), [(3, 3), (0, 4)])
def test_it_is_warmed_up_for_the_largest_batch_that_is_asked_for_or_suits_the_runtime(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: int, largest: int
) -> None:
    warmed: list[int] = []
    inspector = SimpleNamespace(warm_up=warmed.append, runtime=SimpleNamespace(batch=4))
    monkeypatch.setattr("worker.opener.open_inspector", lambda folder, **_: inspector)

    Opener(Settings(ckpt=tmp_path, max_batch=asked)).open(None)

    assert warmed == [largest]
