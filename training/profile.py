"""What the photos were like, for a checkpoint's reference: axes from training photos, the rest from
held-out ones. See `shared/model/reference.py`."""

from __future__ import annotations

import hashlib
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from shared.images import open_image
from shared.model import reference
from shared.model.evidence import Floats
from shared.model.labels import LABELS
from shared.model.preprocess import ImageLimits
from shared.model.preprocess import preprocess as to_views
from shared.model.reference import STATISTICS, Reference, input_statistics, statistics
from training.dataset import Index
from training.extractor import code, read_spec
from training.measures import Floats as Doubles
from training.rowcache import RowCache
from training.workspace import Workspace

#: enough to tell steel from drawn surfaces; half of them catch half as many (docs/drift.md)
_AXES = 64
#: training photos, and features, to each axis, at least
_PER_AXIS, _FEATURES_PER_AXIS = 8, 4
#: below these a feature says nothing, and dividing by it would magnify noise
_LEAST_DEVIATION, _LEAST_REST = 1e-3, 0.05
_QUANTILES = 257


def principal(values: NDArray[np.float32]) -> Reference:
    """Axes of `values` [photos, F], with no limit and no quantiles yet."""
    shift, scale = values.mean(0), 1 / (values.std(0) + _LEAST_DEVIATION)
    standardised = (values - shift) * scale
    count = min(_AXES, values.shape[1] // _FEATURES_PER_AXIS, len(values) // _PER_AXIS)
    with threadpool_limits(1):  # the same axes on any number of cores; on busy ones, threads wait
        variances, vectors = np.linalg.eigh(standardised.T @ standardised / len(values))
    axes = vectors.T[::-1][:count]
    axes *= np.sign(axes[np.arange(count), np.abs(axes).argmax(1)])[:, None]
    across = standardised - standardised @ axes.T @ axes
    return Reference(
        shift=shift,
        scale=scale,
        axes=axes,
        spread=np.sqrt(np.maximum(variances[::-1][:count], 1e-6)).astype(np.float32),
        rest=across.std(0) + np.float32(_LEAST_REST),
        limit=np.array([np.inf], np.float32),
        quantiles=np.zeros((len(LABELS), len(STATISTICS), _QUANTILES), np.float32),
        counts=np.zeros(len(LABELS), np.float32),
    )


def conformal_limit(distances: Doubles, unlike: float) -> float:
    """A new photo of the same kind lies beyond it with a probability of at most `unlike`.

    Infinite where the photos are too few to say so.
    """
    rank = math.ceil((len(distances) + 1) * (1 - unlike))
    return float(np.sort(distances)[rank - 1]) if rank <= len(distances) else math.inf


def profile(
    axes: Reference,
    values: Floats,
    inputs: Floats,
    probabilities: Doubles,
    *,
    threshold: float,
    unlike: float,
) -> Reference:
    """`axes` with a limit and quantiles, of held-out photos.

    values [photos, F]; inputs [photos, INPUTS]; probabilities of scratches [photos].
    """
    places = [axes.place(row) for row in values]
    limit = conformal_limit(np.array([place.distance for place in places]), unlike)
    rows = np.stack(
        [
            statistics(tuple(row), place, probability)
            for row, place, probability in zip(
                inputs.tolist(), places, probabilities.tolist(), strict=True
            )
        ]
    )
    quantiles, counts = axes.quantiles.copy(), axes.counts.copy()
    answers = (probabilities >= threshold).astype(int)
    levels = np.linspace(0, 1, _QUANTILES)
    for answer in np.unique(answers):
        ours = rows[answers == answer]
        counts[answer] = len(ours)
        # Of values that occur: sizes of photos are few and repeat.
        quantiles[answer] = np.quantile(ours, levels, axis=0, method="inverted_cdf").T
    return replace(axes, limit=np.array([limit], np.float32), quantiles=quantiles, counts=counts)


def inputs_of(contents: list[str], index: Index, work: Workspace) -> Floats:
    """[photos, INPUTS], of the files of these contents; computed once for each, and kept."""
    spec = read_spec(work.extractor).preprocess
    files = {image.sha256: index.root / image.file for image in index.images}
    said = spec.model_dump_json().encode() + code() + Path(reference.__file__).read_bytes()
    cache = RowCache(work.cache / "inputs" / hashlib.sha256(said).hexdigest()[:16])
    rows = cache.load(contents)

    def measure(content: str) -> NDArray[np.float32]:
        data = files[content].read_bytes()
        width, height = open_image(data).size
        found = input_statistics(to_views(data, spec, ImageLimits()), width * height)
        return np.array(found, np.float32)

    missing = [content for content in dict.fromkeys(contents) if content not in rows]
    with ThreadPoolExecutor(2) as pool:
        fresh = dict(zip(missing, pool.map(measure, missing), strict=True))
    cache.add(fresh)
    rows |= fresh
    return np.stack([rows[content] for content in contents])
