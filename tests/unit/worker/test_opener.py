"""A model is warm for every batch that it may meet."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from shared.settings import Settings
from worker.opener import Opener


def test_every_size_of_batch_is_warmed_up_the_largest_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    inspector = SimpleNamespace(warm_up=sizes.append)
    monkeypatch.setattr("worker.opener.open_inspector", lambda folder, **_: inspector)

    Opener(Settings(ckpt=tmp_path, max_batch=4)).open(None)

    assert sizes == [4, 3, 2, 1]
