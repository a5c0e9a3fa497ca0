"""Stage `embed`: the features of every image, by the code that serves.

What the same extractor has computed for an image in any earlier run is not computed again.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import Progress

from shared.errors import ImageError
from shared.model.decode import Pixels
from shared.model.labels import LABELS
from shared.model.manifest import Preprocess
from shared.model.preprocess import ImageLimits
from shared.model.preprocess import preprocess as to_views
from training.dataset import Index, load_index
from training.extractor import GRAPH, ExtractorSpec, identity_of, provide
from training.features import Features
from training.graph import Graph, OnGpu, mean_features
from training.params import EmbedParams
from training.rowcache import RowCache, Rows
from training.workspace import Workspace, stage_parser, start

#: images; an interrupted run loses no more
_KEEP_EVERY = 512
_log = logging.getLogger(__name__)


class Extract(Protocol):
    def __call__(self, views: Pixels) -> NDArray[np.float32]: ...


def embed(index: Index, spec: ExtractorSpec, extract: Extract, cache: RowCache, batch: int) -> Rows:
    """Features by sha256 of the file; an image that cannot be read is left out, and said."""
    rows = cache.load(image.sha256 for image in index.images)
    missing = {i.sha256: index.root / i.file for i in index.images if i.sha256 not in rows}
    _log.info("%d images to compute, %d known before", len(missing), len(rows))
    with Progress(transient=True) as progress, ThreadPoolExecutor(2) as pool:
        task = progress.add_task("features", total=len(missing))
        for part in _chunks(missing, _KEEP_EVERY):
            fresh: Rows = {}
            for files in _chunks(part, batch):
                found = pool.map(lambda f: _views(f, spec.preprocess), files.values())
                views = {c: v for c, v in zip(files, found, strict=True) if v is not None}
                if views:
                    fresh |= zip(views, extract(np.stack(list(views.values()))), strict=True)
                progress.advance(task, len(files))
            cache.add(fresh)
            rows |= fresh
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


def collect(index: Index, rows: Rows, means: NDArray[np.bool_], identity: str) -> Features:
    images = [image for image in index.images if image.sha256 in rows]
    return Features(
        values=np.stack([rows[image.sha256] for image in images]),
        labels=np.array([LABELS.index(image.label) for image in images], np.int64),
        splits=np.array([image.split for image in images]),
        sha256=np.array([image.sha256 for image in images]),
        groups=np.array([image.group for image in images], np.int64),
        means=means,
        identity=identity,
    )


def run(params: EmbedParams, work: Workspace, index: Index, base: Path | None = None) -> Features:
    """`base`: a checkpoint whose tower is taken over where it is the one asked for."""
    spec = provide(params, work, base)
    identity = identity_of(work.extractor, spec)
    cache = RowCache(work.cache / "features" / identity[:16])
    rows = embed(index, spec, _fastest(work.extractor, spec), cache, params.batch)
    features = collect(index, rows, mean_features(work.extractor / GRAPH), identity)
    features.save(work.features)
    return features


def _fastest(folder: Path, spec: ExtractorSpec) -> Extract:
    """The GPU if there is one, else OpenVINO, which outruns torch on a CPU."""
    if not torch.cuda.is_available():
        return Graph(folder / GRAPH)
    from training.tower import load_extractor

    return OnGpu(load_extractor(folder, spec))


def main(arguments: Sequence[str] | None = None) -> None:
    _, params, work = start(stage_parser(__doc__), arguments)
    run(params.embed, work, load_index(work.index))


if __name__ == "__main__":
    main()
