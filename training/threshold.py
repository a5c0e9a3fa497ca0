"""From which probability on a photo counts as scratched: for a stated cost, or a stated recall.

Chosen on the validation split, never on the test split.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shared.model.labels import SCRATCHES
from training.params import ThresholdParams

#: a threshold beyond these would turn every answer into one label
_LEAST, _LARGEST = 0.00001, 0.99999


def choose_threshold(
    probabilities: NDArray[np.float64], labels: NDArray[np.int64], params: ThresholdParams
) -> float:
    """`probabilities` are calibrated, of scratches, on validation photos.

    For a cost, where the expected costs of both answers are equal: the probabilities are honest,
    so nothing needs to be searched for. For a recall, halfway between the last score that is needed
    and the next lower one.
    """
    if params.recall is None:
        found = 1 / (1 + params.cost)
    else:
        scratched = np.sort(probabilities[labels == SCRATCHES])[::-1]
        last = scratched[int(np.ceil(params.recall * len(scratched))) - 1]
        below = probabilities[probabilities < last]
        found = float((last + (below.max() if len(below) else 0)) / 2)
    return float(np.clip(found, _LEAST, _LARGEST))
