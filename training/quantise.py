"""int8: the tower after OpenVINO's post-training quantisation (NNCF), and what that costs.

It is shipped only where it costs next to nothing on photos that are not of the test split.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import openvino as ov
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from sklearn.metrics import roc_auc_score

from shared.model.classifier import Head
from shared.model.labels import SCRATCHES
from shared.model.preprocess import ImageLimits, preprocess
from training.dataset import Index
from training.embed import embed
from training.extractor import GRAPH, INT8, ExtractorSpec, code
from training.features import Features
from training.graph import Graph, save_graph
from training.params import Int8Params
from training.rowcache import RowCache, Rows
from training.train import logits_of
from training.workspace import Workspace

#: of the validation split; with fewer, all photos decide, as a loss shows on learned ones too
_ENOUGH = 100
_BATCH = 16
_log = logging.getLogger(__name__)


class Loss(BaseModel):
    """f32 minus int8: positive where int8 is worse."""

    model_config = ConfigDict(frozen=True)

    auroc: float
    accuracy: float


class Int8Report(BaseModel):
    model_config = ConfigDict(frozen=True)

    shipped: bool
    validation: Loss
    test: Loss


def int8_extractor(
    params: Int8Params, work: Workspace, index: Index, spec: ExtractorSpec, identity: str
) -> Path:
    """The graph file: the one that came with the tower, or calibrated on training photos."""
    borrowed = work.extractor / INT8
    if borrowed.exists():
        return borrowed
    said = f"{identity} {index.hash} {params.images}".encode() + Path(__file__).read_bytes()
    kept = work.cache / "int8" / hashlib.sha256(said).hexdigest()[:16] / INT8
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        save_graph(_quantised(work.extractor / GRAPH, params, index, spec), kept)
    return kept


def _quantised(graph: Path, params: Int8Params, index: Index, spec: ExtractorSpec) -> ov.Model:
    import nncf  # takes seconds

    nncf.set_log_level(logging.ERROR)
    training = sorted((i for i in index.images if i.split == "train"), key=lambda i: i.sha256)
    views = [
        preprocess((index.root / image.file).read_bytes(), spec.preprocess, ImageLimits())[None]
        for image in training[: params.images]
    ]
    # The fast correction lost more (docs/adr/0013-what-a-photo-costs.md).
    return nncf.quantize(
        ov.Core().read_model(graph),
        nncf.Dataset(views),
        subset_size=len(views),
        fast_bias_correction=False,
    )


def judge(
    graph: Path,
    params: Int8Params,
    work: Workspace,
    index: Index,
    spec: ExtractorSpec,
    features: Features,
    head: Head,
) -> Int8Report:
    """Both precisions on the same photos, by the same head."""
    test, deciding = features.splits == "test", features.splits == "validation"
    if np.count_nonzero(deciding) < _ENOUGH:
        deciding = np.ones(len(test), bool)
    rows = rows_of(graph, features.sha256[test | deciding].tolist(), work, index, spec)
    validation = _loss(features, rows, head, deciding)
    return Int8Report(
        shipped=validation.auroc <= params.auroc and validation.accuracy <= params.accuracy,
        validation=validation,
        test=_loss(features, rows, head, test),
    )


def rows_of(
    graph: Path, contents: Sequence[str], work: Workspace, index: Index, spec: ExtractorSpec
) -> Rows:
    """What `graph` makes of the images of these contents; computed once."""
    wanted = set(contents)
    images = tuple(image for image in index.images if image.sha256 in wanted)
    said = graph.read_bytes() + graph.with_suffix(".bin").read_bytes() + code()
    cache = RowCache(work.cache / "features" / hashlib.sha256(said).hexdigest()[:16])
    return embed(index.model_copy(update={"images": images}), spec, Graph(graph), cache, _BATCH)


def _loss(features: Features, rows: Rows, head: Head, chosen: NDArray[np.bool_]) -> Loss:
    quantised = np.stack([rows[content] for content in features.sha256[chosen].tolist()])
    scratched = features.labels[chosen] == SCRATCHES
    (auroc, accuracy), (auroc_int8, accuracy_int8) = (
        _quality(head, values, scratched) for values in (features.values[chosen], quantised)
    )
    return Loss(auroc=round(auroc - auroc_int8, 5), accuracy=round(accuracy - accuracy_int8, 5))


def _quality(
    head: Head, values: NDArray[np.float32], scratched: NDArray[np.bool_]
) -> tuple[float, float]:
    logits = logits_of(head, torch.from_numpy(values)).numpy()
    margins = logits[:, SCRATCHES] - logits[:, 1 - SCRATCHES]
    return float(roc_auc_score(scratched, margins)), float(((margins >= 0) == scratched).mean())
