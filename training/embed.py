"""Stage `embed`: the features of every image, by the code that serves.

The file it writes is also its cache: what has been computed by the same extractor is not again.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from shared.errors import ImageError
from shared.model.decode import Pixels
from shared.model.labels import LABELS
from shared.model.manifest import Preprocess
from shared.model.preprocess import ImageLimits
from shared.model.preprocess import preprocess as to_views
from training.data import Index, load_index
from training.graph import FastModule
from training.params import EmbedParams
from training.tower import ExtractorSpec, load_extractor, read_spec, write_extractor
from training.workspace import Workspace, stage_parser, start

Rows = dict[str, NDArray[np.float32]]
_log = logging.getLogger(__name__)


class Extract(Protocol):
    def __call__(self, views: Pixels) -> NDArray[np.float32]: ...


@dataclass(frozen=True)
class Features:
    """A row an image, in the order of the index."""

    #: float32 [images, features]
    values: NDArray[np.float32]
    #: position in LABELS
    labels: NDArray[np.int64]
    #: train, validation or test
    splits: NDArray[np.str_]
    #: of the image file
    sha256: NDArray[np.str_]
    #: of the extractor
    identity: str

    def of(self, split: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Values and labels of one split."""
        chosen = self.splits == split
        return self.values[chosen], self.labels[chosen]

    def save(self, path: Path) -> None:
        np.savez(path, **vars(self))

    @classmethod
    def load(cls, path: Path) -> Features:
        with np.load(path, allow_pickle=False) as stored:
            arrays = dict(stored)
        return cls(**arrays | {"identity": str(arrays["identity"])})


def identity_of(folder: Path, spec: ExtractorSpec) -> str:
    """Changes whenever any feature could."""
    digest = hashlib.sha256(spec.model_dump_json().encode())
    if spec.backbone.weights:
        digest.update((folder / spec.backbone.weights).read_bytes())
    return digest.hexdigest()


def embed(index: Index, spec: ExtractorSpec, extract: Extract, known: Rows, batch: int) -> Rows:
    """Features by sha256 of the file; an image that cannot be read is left out, and said."""
    rows = {image.sha256: known[image.sha256] for image in index.images if image.sha256 in known}
    missing = {i.sha256: index.root / i.file for i in index.images if i.sha256 not in rows}
    with Progress(transient=True) as progress, ThreadPoolExecutor(2) as pool:
        task = progress.add_task("features", total=len(missing))
        for files in _chunks(missing, batch):
            views = {
                content: view
                for content, view in zip(
                    files,
                    pool.map(lambda f: _views(f, spec.preprocess), files.values()),
                    strict=True,
                )
                if view is not None
            }
            if views:
                rows |= zip(views, extract(np.stack(list(views.values()))), strict=True)
            progress.advance(task, len(files))
    _log.info("%d rows computed, %d known before", len(rows.keys() & missing), len(known))
    return rows


def _chunks(files: dict[str, Path], size: int) -> Iterator[dict[str, Path]]:
    items = iter(files.items())
    while chunk := dict(itertools.islice(items, size)):
        yield chunk


def _views(file: Path, preprocess: Preprocess) -> Pixels | None:
    try:
        return to_views(file.read_bytes(), preprocess, ImageLimits())
    except ImageError as error:
        _log.warning("%s is left out: %s", file, error.message)
        return None


def collect(index: Index, rows: Rows, identity: str) -> Features:
    images = [image for image in index.images if image.sha256 in rows]
    return Features(
        values=np.stack([rows[image.sha256] for image in images]),
        labels=np.array([LABELS.index(image.label) for image in images], np.int64),
        splits=np.array([image.split for image in images]),
        sha256=np.array([image.sha256 for image in images]),
        identity=identity,
    )


def _known(path: Path, identity: str) -> Rows:
    if not path.exists():
        return {}
    stored = Features.load(path)
    if stored.identity != identity:
        return {}
    return dict(zip(stored.sha256.tolist(), stored.values, strict=True))


def run(params: EmbedParams, work: Workspace) -> Features:
    write_extractor(work.extractor, params)
    spec = read_spec(work.extractor)
    index = load_index(work.index)
    identity = identity_of(work.extractor, spec)
    known = _known(work.features, identity)
    extract = FastModule(load_extractor(work.extractor, spec), spec.preprocess)
    rows = embed(index, spec, extract, known, params.batch)
    features = collect(index, rows, identity)
    features.save(work.features)
    return features


def main(arguments: Sequence[str] | None = None) -> None:
    _, params, work = start(stage_parser(__doc__), arguments)
    run(params.embed, work)


if __name__ == "__main__":
    main()
