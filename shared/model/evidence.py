"""Where on the photo the head found its evidence: first-order contributions of every position.

The head is linear between its ReLUs, so within one answer its margin (logit of `scratches` minus
logit of `no_scratches`) is `g . (features - shift) + bias` exactly, with `g` the gradient at that
answer (gradient times input; Ancona et al. 2018, arXiv:1711.06104). Pooled features are means and
maxima over positions, so the share of each goes back to where it came from: of a mean to every
position by its activation, of a maximum to the position that held it. The shares add up to the
margin. No second forward pass is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from shared.errors import CheckpointError
from shared.model.labels import NO_SCRATCHES, SCRATCHES
from shared.model.manifest import Preprocess
from shared.model.views import windows

Floats = NDArray[np.float32]

#: cells on each side of a heatmap, whatever the proportions of the photo
HEATMAP_SIDE = 80
#: cells; neighbouring cells vote together, which finds thin scratches more often than single ones
_BLUR = 2.0


@dataclass(frozen=True)
class Trace:
    """What the head saw of one image.

    logits [2]; pooled [views, features]; maps, one a depth, each [views, channels, rows, columns].
    """

    logits: Floats
    pooled: Floats
    maps: tuple[Floats, ...]

    @property
    def features(self) -> Floats | None:
        """What the head saw, [features]; None where no maps are pooled: `pooled` is then none."""
        return seen_by_head(self.pooled) if self.maps else None


def seen_by_head(pooled: Floats) -> Floats:
    """[views, features] to [features of the head]; see `FeatureExtractor.combined`."""
    only: Floats = pooled[0]
    if len(pooled) == 1:
        return only
    return np.concatenate([only, pooled.max(0), pooled.mean(0)])


def split_traces(logits: Floats, pooled: Floats, maps: Sequence[Floats]) -> list[Trace]:
    """A batch by image. `pooled` and `maps` may hold images and views in one axis or in two."""
    images = len(logits)
    pooled = pooled.reshape(images, -1, pooled.shape[-1])
    levels = [level.reshape(images, -1, *level.shape[-3:]) for level in maps]
    return [Trace(logits[i], pooled[i], tuple(level[i] for level in levels)) for i in range(images)]


class EvidenceReader:
    """The head of a checkpoint, read backwards. Raises CheckpointError."""

    def __init__(self, head: Path, preprocess: Preprocess) -> None:
        try:
            tensors = {name: t.astype(np.float32) for name, t in load_file(head).items()}
            self._shift, self._scale = tensors["shift"], tensors["scale"]
            count = sum(name.startswith("layers.") for name in tensors) // 2
            self._layers = [
                (tensors[f"layers.{i}.weight"], tensors[f"layers.{i}.bias"]) for i in range(count)
            ]
        except Exception as error:  # safetensors has errors of its own
            raise CheckpointError(f"{head} is not a head: {error}") from error
        self._spec = preprocess

    def heatmap(self, trace: Trace) -> Floats:
        """[HEATMAP_SIDE, HEATMAP_SIDE] over the whole photo, in logits a cell.

        Positive speaks for a scratch.
        """
        canvas = np.zeros((HEATMAP_SIDE, HEATMAP_SIDE), np.float32)
        areas = windows(HEATMAP_SIDE, HEATMAP_SIDE, self._spec)
        for level in self.contributions(trace):
            for grid, (top, bottom, left, right) in zip(level, areas, strict=True):
                canvas[top:bottom, left:right] += _spread(grid, bottom - top, right - left)
        blurred: Floats = np.asarray(cv2.GaussianBlur(canvas, (0, 0), _BLUR), np.float32)
        return blurred

    def contributions(self, trace: Trace) -> list[Floats]:
        """One array a depth, [views, rows, columns], in logits. See the module's docstring.

        None where no maps are pooled, which is also where a head may hold a layer norm.
        """
        if not trace.maps:
            return []
        gain, offset = self._by_view(trace.pooled)
        levels, start = [], 0
        for maps in trace.maps:
            views, channels, rows, columns = maps.shape
            mean = slice(start, start + channels)
            peak = slice(mean.stop, mean.stop + channels)
            start = peak.stop
            flat = maps.reshape(views, channels, -1)
            shares = (gain[:, None, mean] @ flat)[:, 0]
            shares -= offset[:, mean].sum(1, keepdims=True)
            shares /= flat.shape[2]
            at = flat.argmax(2)
            largest = np.take_along_axis(flat, at[:, :, None], 2)[:, :, 0]
            held = gain[:, peak] * largest - offset[:, peak]
            for view in range(views):
                shares[view] += np.bincount(at[view], held[view], flat.shape[2])
            levels.append(shares.reshape(views, rows, columns).astype(np.float32))
        return levels

    def _by_view(self, pooled: Floats) -> tuple[Floats, Floats]:
        """For every view and pooled feature: its gradient, and the gradient times its shift.

        Follows `FeatureExtractor`: with several views the head sees the first one, the largest of
        all and their mean.
        """
        views = len(pooled)
        if views == 1:
            gradient = self._gradient(pooled[0])
            return gradient[None], (gradient * self._shift)[None]
        gradient = self._gradient(seen_by_head(pooled))
        parts = np.split(gradient, 3)
        shifts = np.split(gradient * self._shift, 3)
        winner = pooled.argmax(0) == np.arange(views)[:, None]
        first = (np.arange(views) == 0)[:, None]
        gain = first * parts[0] + winner * parts[1] + parts[2] / views
        offset = first * shifts[0] + winner * shifts[1] + shifts[2] / views
        return gain.astype(np.float32), offset.astype(np.float32)

    def _gradient(self, features: Floats) -> Floats:
        """Of the margin by the features, [features].

        einsum and not `@`: the threads of BLAS would compete with the model's for a tiny product.
        """
        values = (features - self._shift) * self._scale
        active = []
        for weight, bias in self._layers[:-1]:
            values = np.einsum("ij,j->i", weight, values) + bias
            active.append(values > 0)
            values = np.maximum(values, 0)
        last = self._layers[-1][0]
        gradient = last[SCRATCHES] - last[NO_SCRATCHES]
        for (weight, _), alive in zip(reversed(self._layers[:-1]), reversed(active), strict=True):
            gradient = np.einsum("i,ij->j", gradient * alive, weight)
        found: Floats = gradient * self._scale
        return found


def _spread(grid: Floats, rows: int, columns: int) -> Floats:
    """`grid` on rows x columns cells, its sum kept."""
    smaller = rows < grid.shape[0]
    method = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    resized = np.asarray(cv2.resize(grid, (columns, rows), interpolation=method), np.float32)
    return resized * np.float32(grid.size / (rows * columns))
