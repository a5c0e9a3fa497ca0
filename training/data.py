"""Stage `data`: which images there are, what they show, and what each is for.

Either draws the synthetic set, or takes a folder of one's own with scratches/ and no_scratches/.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from shared.images import images_in
from shared.model.labels import LABELS
from shared.model.manifest import sha256_of
from training.params import DataParams
from training.synthetic import write_dataset
from training.workspace import Workspace, stage_parser, start

Split = Literal["train", "validation", "test"]
#: of a class; fewer cannot fill three splits
_FEWEST = 10
_log = logging.getLogger(__name__)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class IndexedImage(_Frozen):
    #: below the index' root
    file: str
    label: Literal["no_scratches", "scratches"]
    sha256: str
    split: Split


class Index(_Frozen):
    root: Path
    images: tuple[IndexedImage, ...]

    @property
    def hash(self) -> str:
        """Of contents, labels and splits; where the files lie does not matter."""
        lines = sorted(f"{i.sha256} {i.label} {i.split}\n" for i in self.images)
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def draw(folder: Path, params: DataParams) -> None:
    """Writes the synthetic set anew."""
    shutil.rmtree(folder, ignore_errors=True)
    write_dataset(folder, params.count, params.seed)


def make_index(root: Path, params: DataParams) -> Index:
    """Splits are stratified by class, seeded, and independent of names.

    Raises ValueError when a class is missing or too small, or one content has both labels.
    """
    found = {label: _by_content(root / label) for label in LABELS}
    both = found[LABELS[0]].keys() & found[LABELS[1]].keys()
    if both:
        names = [str(found[LABELS[0]][content]) for content in sorted(both)]
        raise ValueError(f"{root}: these images carry both labels: {', '.join(names)}")
    images: list[IndexedImage] = []
    for label, files in found.items():
        if len(files) < _FEWEST:
            raise ValueError(
                f"{root / label}: {len(files)} different images, needs {_FEWEST} or more"
            )
        for content, split in _splits(sorted(files), params):
            name = files[content].relative_to(root).as_posix()
            images.append(
                IndexedImage.model_validate(
                    {"file": name, "label": label, "sha256": content, "split": split}
                )
            )
    return Index(root=root.resolve(), images=tuple(sorted(images, key=lambda i: i.file)))


def _by_content(folder: Path) -> dict[str, Path]:
    """Each different image once, so that no copy of a training image is tested on."""
    files = images_in(folder)
    unique: dict[str, Path] = {}
    for file in files:
        unique.setdefault(sha256_of(file), file)
    if len(unique) < len(files):
        _log.warning("%s: %d copies left out", folder, len(files) - len(unique))
    return unique


def _splits(contents: Sequence[str], params: DataParams) -> Iterator[tuple[str, Split]]:
    order = np.random.default_rng(params.seed).permutation(len(contents))
    test = max(1, round(len(contents) * params.test))
    validation = max(1, round(len(contents) * params.validation))
    for rank, position in enumerate(order):
        split: Split = (
            "test" if rank < test else "validation" if rank < test + validation else "train"
        )
        yield contents[position], split


def load_index(path: Path) -> Index:
    return Index.model_validate_json(path.read_text())


def run(params: DataParams, work: Workspace, source: Path | None = None) -> Index:
    if source is None:
        _log.info("drawing %d photos into %s", params.count, work.images)
        draw(work.images, params)
    index = make_index(source or work.images, params)
    work.index.write_text(index.model_dump_json(indent=1))
    _log.info("%s: %s", index.root, dict(Counter(f"{i.label} {i.split}" for i in index.images)))
    return index


def main(arguments: Sequence[str] | None = None) -> None:
    parser = stage_parser(__doc__)
    parser.add_argument("--source", type=Path, help="folder with scratches/ and no_scratches/")
    options, params, work = start(parser, arguments)
    run(params.data, work, options.source)


if __name__ == "__main__":
    main()
