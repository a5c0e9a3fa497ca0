"""What has been computed of an image, by its content: kept across runs, folders and names."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = dict[str, NDArray[Any]]


class RowCache:
    """Rows by sha256 of the image file, in files that are only ever added: runs may overlap."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, wanted: Iterable[str]) -> Rows:
        """Those of `wanted` that are known."""
        missing = set(wanted)
        found: Rows = {}
        for shard in sorted(self._folder.glob("*.npz")):
            with np.load(shard, allow_pickle=False) as stored:
                names, values = stored["sha256"].tolist(), stored["values"]
            for name, row in zip(names, values, strict=True):
                if name in missing:
                    missing.remove(name)
                    found[name] = row
        return found

    def add(self, rows: Mapping[str, NDArray[Any]]) -> None:
        if not rows:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        name = f"{uuid.uuid4().hex}.npz"
        unfinished = self._folder / f"{name}.part"
        with unfinished.open("wb") as file:
            np.savez(file, sha256=np.array(list(rows)), values=np.stack(list(rows.values())))
        unfinished.rename(self._folder / name)
