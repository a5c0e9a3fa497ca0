"""The index of a data set: which images there are, what they show, and what each is for."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

Split = Literal["train", "validation", "test"]


class DataError(ValueError):
    """A folder of photos from which nothing can be learned; the message is for people."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class IndexedImage(_Frozen):
    #: below the index' root
    file: str
    label: Literal["no_scratches", "scratches"]
    sha256: str
    split: Split
    #: near-duplicates share it, and therefore the split
    group: int = 0


class Dropped(_Frozen):
    #: below the index' root
    file: str
    reason: str
    #: `broken` or `duplicate`
    kind: Literal["broken", "duplicate"]


class Index(_Frozen):
    #: as it was given: relative paths keep the index equal from machine to machine
    root: Path
    images: tuple[IndexedImage, ...]
    dropped: tuple[Dropped, ...] = ()

    @property
    def hash(self) -> str:
        """Of contents, labels and splits; where the files lie does not matter."""
        lines = sorted(f"{i.sha256} {i.label} {i.split}\n" for i in self.images)
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def load_index(path: Path) -> Index:
    return Index.model_validate_json(path.read_text())
