"""Stage `certify`: what may be promised of the answers, and what the photos were like.

Two thresholds of the probability of scratches, from validation photos that no head learned from:
below the lower one a photo is clean, from the upper one on scratched, between them for a person.
The lower one is the k-th smallest score of n scratched photos. The share of scratched photos below
it is distributed as Beta(k, n - k + 1), whatever the model and the photos, so that the largest k
with P(Beta <= rate) >= 1 - risk keeps the promise with that confidence, over the draw of the
validation photos: Wilks' tolerance limit (1941, Ann. Math. Stat. 12(1)), or split conformal
prediction conditional on its calibration set (Vovk 2012, arXiv:1209.2673, proposition 2); k - 1
errors among n then have Clopper and Pearson's upper limit (1934, Biometrika 26(4)) at most at
`rate`. k follows from n alone, so that trying thresholds costs nothing. The upper one is the same
for clean photos.

What costs is that the head was chosen among several by these photos: each promise is made for all
of them at once, by dividing the risk (Bonferroni; Angelopoulos et al. 2021, "Learn then test",
arXiv:2110.01052), and by two again, so that both promises hold together. Temperature and threshold,
also chosen here, change no order of scores.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from shared.model.classifier import Head
from shared.model.labels import NO_SCRATCHES, SCRATCHES
from shared.model.manifest import Bound, Certificate
from shared.model.reference import Reference
from training.dataset import Index, load_index
from training.extractor import ExtractorSpec
from training.features import Features
from training.measures import Floats, Labels
from training.params import CertifyParams
from training.profile import inputs_of, principal, profile
from training.quantise import rows_of
from training.train import Calibration, probabilities_of
from training.workspace import Workspace, stage_parser, start

#: thresholds are kept to so many digits, rounded to the side that keeps the promise
_DIGITS = 7
_log = logging.getLogger(__name__)


def errors_allowed(images: int, rate: float, risk: float) -> int:
    """How many of `images` may be wrong for at most `rate` wrong, but for `risk`; -1: not even 0.

    k - 1 for the k of the module's docstring: the largest number of errors whose upper limit by
    Clopper and Pearson is not above `rate`.
    """
    ranks = np.arange(1, images + 1)
    return int((beta.cdf(rate, ranks, images - ranks + 1) >= 1 - risk).sum()) - 1


def images_needed(rate: float, risk: float) -> int:
    """The fewest images with which anything can be promised: none of them may then be wrong."""
    return math.ceil(math.log(risk) / math.log1p(-rate))


def certificate(
    probabilities: Floats, labels: Labels, params: CertifyParams, *, candidates: int
) -> Certificate:
    """From held-out photos, of which each stands for itself: no near-duplicates.

    `candidates`: among how many models these photos have chosen.
    """
    risk = (1 - params.confidence) / 2 / candidates
    scratched = np.sort(probabilities[labels == SCRATCHES])
    clean = np.sort(probabilities[labels == NO_SCRATCHES])[::-1]
    low = high = None
    missed = errors_allowed(len(scratched), params.missed, risk)
    if missed >= 0:
        low = math.floor(scratched[missed] * 10**_DIGITS) / 10**_DIGITS
    alarms = errors_allowed(len(clean), params.false_alarms, risk)
    if alarms >= 0:
        # Above that score: `scratched` begins at its threshold.
        high = (math.floor(clean[alarms] * 10**_DIGITS) + 1) / 10**_DIGITS
    if low is not None and high is not None and low > high:
        low = high = (low + high) / 2  # both promises hold anywhere between
    return Certificate(
        confidence=params.confidence,
        unlike=params.unlike,
        missed=Bound(
            rate=params.missed, images=len(scratched), needed=images_needed(params.missed, risk)
        ),
        false_alarms=Bound(
            rate=params.false_alarms,
            images=len(clean),
            needed=images_needed(params.false_alarms, risk),
        ),
        clean_below=low,
        scratched_from=high,
    )


def independent(features: Features, index: Index) -> NDArray[np.bool_]:
    """Validation photos, one of each group of near-duplicates: which, no score has a say in."""
    groups = {image.sha256: image.group for image in index.images}
    chosen: NDArray[np.bool_] = features.splits == "validation"
    seen: set[int] = set()
    for row in sorted(np.flatnonzero(chosen), key=lambda row: str(features.sha256[row])):
        group = groups[str(features.sha256[row])]
        chosen[row] = group not in seen
        seen.add(group)
    return chosen


@dataclass(frozen=True)
class HeldOut:
    """The validation photos that stand for themselves, and how the head judges them."""

    index: Index
    work: Workspace
    features: Features
    head: Head
    calibration: Calibration

    @property
    def chosen(self) -> NDArray[np.bool_]:
        return independent(self.features, self.index)

    def certified(
        self, values: NDArray[np.float32], params: CertifyParams
    ) -> tuple[Certificate, Reference]:
        """From the features of the chosen photos, as one runtime computes them."""
        probabilities = probabilities_of(self.head, values, self.calibration.temperature)
        labels = self.features.labels[self.chosen]
        candidates = self.calibration.candidates
        reference = profile(
            principal(self.features.of("train")[0]),
            values,
            inputs_of(self.features.sha256[self.chosen].tolist(), self.index, self.work),
            probabilities,
            threshold=self.calibration.threshold,
            unlike=params.unlike,
        )
        return certificate(probabilities, labels, params, candidates=candidates), reference


def of_graph(
    graph: Path, promised: Certificate, held_out: HeldOut, spec: ExtractorSpec
) -> tuple[Certificate, Reference | None]:
    """The promises of `promised`, from the answers of another extractor's graph."""
    if not promised.missed.images:
        return promised, None
    contents = held_out.features.sha256[held_out.chosen].tolist()
    rows = rows_of(graph, contents, held_out.work, held_out.index, spec)
    params = CertifyParams(
        missed=promised.missed.rate,
        false_alarms=promised.false_alarms.rate,
        confidence=promised.confidence,
        unlike=promised.unlike,
    )
    return held_out.certified(np.stack([rows[content] for content in contents]), params)


def run(params: CertifyParams, work: Workspace) -> Certificate:
    """Where the head has learned from the validation split, nothing can be promised."""
    calibration = Calibration.model_validate_json(work.calibration.read_text())
    work.reference.unlink(missing_ok=True)
    if calibration.held_out:
        features = Features.load(work.features)
        head, index = Head.from_file(work.head), load_index(work.index)
        photos = HeldOut(index, work, features, head, calibration)
        found, reference = photos.certified(features.values[photos.chosen], params)
        reference.save(work.reference)
    else:
        nothing, no_labels = np.zeros(0), np.zeros(0, np.int64)
        found = certificate(nothing, no_labels, params, candidates=calibration.candidates)
    work.certificate.write_text(found.model_dump_json(indent=1) + "\n")
    _log.info("%s", found)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    _, params, work = start(stage_parser(__doc__), arguments)
    run(params.certify, work)


if __name__ == "__main__":
    main()
