"""Three verbs for one photo: preprocess, forward, postprocess. One path for all users."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from shared.errors import CheckpointError
from shared.model.decode import Pixels
from shared.model.embedding import embedding_space
from shared.model.evidence import EvidenceReader, Floats, Trace
from shared.model.heatmap import Heatmap
from shared.model.labels import LABELS, NO_SCRATCHES, SCRATCHES
from shared.model.manifest import Manifest, Precision, load_manifest
from shared.model.preprocess import ImageLimits, preprocess
from shared.model.reference import Place, Reference
from shared.model.ruling import Ruling, rule
from shared.model.runtime import Embedded, Logits, Runtime, RuntimeName, open_runtime

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Verdict:
    """A label and its probabilities, which sum to 1."""

    pred: str
    prob_no_scratches: float
    prob_scratches: float


class Inspector:
    """A checkpoint on a runtime."""

    def __init__(
        self, folder: Path, manifest: Manifest, runtime: Runtime, limits: ImageLimits
    ) -> None:
        self.manifest = manifest
        self.title = manifest.title  # a hash of all of it: not anew for each image
        self.runtime = runtime
        self.limits = limits
        self.embedding_space = embedding_space(manifest, runtime.precision)
        self._folder = folder
        file = manifest.references.get(runtime.precision)
        self.reference = Reference.load(folder / file) if file else None
        self._reader = EvidenceReader(folder / manifest.head, manifest.preprocess)

    def on(self, runtime: Runtime) -> Inspector:
        """The same checkpoint on another runtime."""
        return Inspector(self._folder, self.manifest, runtime, self.limits)

    def preprocess(self, data: bytes) -> Pixels:
        """Encoded image to views, uint8 [views, size, size, 3]. Raises ImageError."""
        return preprocess(data, self.manifest.preprocess, self.limits)

    def forward(self, views: Pixels) -> Logits:
        """uint8 [images, views, size, size, 3] to logits [images, 2]."""
        return self.runtime.forward(views)

    def embed(self, views: Pixels) -> list[Embedded]:
        """As `forward`, with the features where the graph shows them."""
        return self.runtime.embed(views)

    def trace(self, views: Pixels) -> list[Trace]:
        """As `forward`, with what `locate` needs."""
        return self.runtime.trace(views)

    def locate(self, trace: Trace) -> Heatmap | None:
        """Where on the photo the evidence lies; None for a model that pools no maps."""
        return Heatmap(self._reader.heatmap(trace)) if trace.maps else None

    def postprocess(self, logits: Logits) -> Verdict:
        """Logits [2] of one image to calibrated probabilities and the label.

        Raises ValueError when they are not finite: no answer is better than a made-up one.
        """
        if not np.isfinite(logits).all():
            raise ValueError("the model answered with numbers that are not finite")
        margin = float(logits[SCRATCHES]) - float(logits[NO_SCRATCHES])
        scaled = np.clip(margin / self.manifest.temperature, -60, 60)
        probability = float(1 / (1 + np.exp(-scaled)))
        label = SCRATCHES if probability >= self.manifest.threshold else NO_SCRATCHES
        return Verdict(LABELS[label], 1 - probability, probability)

    def place(self, features: Floats | None) -> Place | None:
        """Where an image lies among those that the model was made from; None where unknown."""
        return self.reference.place(features) if self.reference and features is not None else None

    def rule(self, verdict: Verdict, place: Place | None) -> Ruling:
        """What one can act on. The promises are of this runtime's precision, or there are none."""
        certificate = self.manifest.certificates.get(self.runtime.precision)
        return rule(certificate, verdict.prob_scratches, unlike=bool(place and place.unlike))

    def inspect(self, data: bytes) -> Verdict:
        """All three verbs for one image. Raises ImageError."""
        return self.postprocess(self.forward(self.preprocess(data)[None])[0])

    def warm_up(self, max_batch: int) -> None:
        """Passes over batches of each size: each has compiled kernels of its own.

        The largest first: the others then fit into its buffers, which saves a third of the memory.
        """
        spec = self.manifest.preprocess
        for images in range(max_batch, 0, -1):
            shape = (images, spec.view_count, spec.size, spec.size, 3)
            self.runtime.warm_up(np.zeros(shape, np.uint8))

    def prove(self) -> float:
        """Reproduces the golden answers here; returns the largest difference of a logit.

        Raises CheckpointError beyond the tolerance that the manifest states for this precision.
        """
        precision = self.runtime.precision
        tolerance = self.manifest.tolerance.get(precision)
        if tolerance is None:
            raise CheckpointError(f"the manifest states no tolerance for {precision}")
        worst = 0.0
        for golden in self.manifest.goldens:
            found = self._answer(golden.file)
            difference = float(np.abs(found - np.array(golden.logits)).max())
            if not difference <= tolerance:  # also when it is not a number
                raise CheckpointError(
                    f"{self.manifest.title} on {self.runtime.variant} answers {found.tolist()} "
                    f"for {golden.file}, expected {golden.logits} within {tolerance}"
                )
            worst = max(worst, difference)
        return worst

    def _answer(self, file: str) -> Logits:
        try:
            views = self.preprocess((self._folder / file).read_bytes())
            logits: Logits = self.forward(views[None])[0]
        except Exception as error:  # such as a head that does not fit: each runtime has its own
            raise CheckpointError(f"{self.manifest.title} cannot judge {file}: {error}") from error
        return logits


def open_inspector(
    folder: Path,
    *,
    runtime: RuntimeName = "auto",
    precision: Precision | Literal["auto"] = "f32",
    threads: int = 0,
    streams: int = 1,
    limits: ImageLimits | None = None,
) -> Inspector:
    """Loads, checks and proves a checkpoint. Raises CheckpointError.

    With `precision` auto, one that does not prove itself on this processor gives way to f32.
    """
    manifest = load_manifest(folder)
    opened = open_runtime(
        folder, manifest, name=runtime, precision=precision, threads=threads, streams=streams
    )
    inspector = Inspector(folder, manifest, opened, limits or ImageLimits())
    try:
        inspector.prove()
    except CheckpointError as error:
        if precision != "auto" or opened.precision == "f32":
            raise
        _log.warning("f32 it is: %s", error)
        exact = open_runtime(
            folder, manifest, name=runtime, precision="f32", threads=threads, streams=streams
        )
        inspector = inspector.on(exact)
        inspector.prove()
    return inspector
