"""Which unlabelled photos teach a model the most: those it is unsure of, and unlike one another.

Doubt is how near a probability lies to the threshold, from 0 to 1. Among the photos of greatest
doubt, one after the other is taken whose doubt times its distance from all that were taken, or
labelled before, is greatest: farthest-point traversal (Gonzalez, 1985), weighted. Without
embeddings, or without numpy, which the api's image spares, doubt alone decides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, case, func, select

from shared.history.schema import images
from shared.history.store import Answered, HistoryStore, labelled

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: photos that are looked at for each one that is wanted, and at least
_CANDIDATES, _FEWEST_CANDIDATES = 10, 200
#: unlabelled answers, the latest, among which they are looked for
_NEWEST = 100_000
#: labelled photos, the latest, that new ones should be unlike
_LABELLED = 500


def doubt(prob_scratches: float, threshold: float) -> float:
    """1 at the threshold, 0 where the model is certain either way."""
    room = 1 - threshold if prob_scratches >= threshold else threshold
    return 1 - abs(prob_scratches - threshold) / room


def most_informative(store: HistoryStore, count: int) -> list[Answered]:
    """At most `count` unlabelled photos, each once, the most informative first.

    Raises HistoryUnavailable.
    """
    candidates = _most_doubtful(store, max(count * _CANDIDATES, _FEWEST_CANDIDATES))
    space = _prevailing_space(candidates)
    if space is None or find_spec("numpy") is None:
        return candidates[:count]
    return _spread(candidates, _labelled_embeddings(store, space), space, count)


def _most_doubtful(store: HistoryStore, count: int) -> list[Answered]:
    """Of each photo its latest answer."""
    row = images.c
    named = row.task_id, row.sha256, row.at, row.prob_scratches, row.threshold
    newest = select(*named).where(~labelled()).order_by(row.at.desc()).limit(_NEWEST).subquery()
    place = func.row_number().over(
        partition_by=newest.c.sha256, order_by=[newest.c.at.desc(), newest.c.task_id]
    )
    placed = select(newest, place.label("place")).subquery()
    certainty = _certainty(placed.c.prob_scratches, placed.c.threshold)
    wanted = (
        select(images)
        .join(placed, placed.c.task_id == row.task_id)
        .where(placed.c.place == 1)
        .order_by(certainty, row.task_id)
        .limit(count)
    )
    with store.database.begin() as connection:
        return [Answered.of_row(found) for found in connection.execute(wanted)]


def _certainty(
    probability: ColumnElement[float], threshold: ColumnElement[float]
) -> ColumnElement[float]:
    """1 - `doubt`, in SQL."""
    return case(
        (probability >= threshold, (probability - threshold) / (1 - threshold)),
        else_=(threshold - probability) / threshold,
    )


def _prevailing_space(candidates: Sequence[Answered]) -> str | None:
    spaces = Counter(answer.embedding_space for answer in candidates if answer.embedding)
    return spaces.most_common(1)[0][0] if spaces else None


def _labelled_embeddings(store: HistoryStore, space: str) -> list[bytes]:
    wanted = (
        select(images.c.embedding)
        .where(labelled(), images.c.embedding_space == space, images.c.embedding.is_not(None))
        .order_by(images.c.at.desc())
        .limit(_LABELLED)
    )
    with store.database.begin() as connection:
        return [row.embedding for row in connection.execute(wanted)]


def _spread(
    candidates: list[Answered], known: list[bytes], space: str, count: int
) -> list[Answered]:
    """Photos without an embedding of `space` are as far away as the others are on average."""
    import numpy as np

    doubts = np.array([doubt(answer.prob_scratches, answer.threshold) for answer in candidates])
    placed = np.array([bool(a.embedding) and a.embedding_space == space for a in candidates])
    vectors = _unit(
        [a.embedding or b"" for a, here in zip(candidates, placed, strict=True) if here]
    )
    distances = np.full(len(candidates), 2.0)
    taken: list[int] = []

    def draw_near(others: NDArray[np.float32]) -> None:
        nearest = 1 - (vectors @ others.T).max(1)
        distances[placed] = np.minimum(distances[placed], nearest)

    if known:
        draw_near(_unit(known))
    places = np.cumsum(placed) - 1
    while len(taken) < min(count, len(candidates)):
        distances[~placed] = distances[placed].mean()
        worth = doubts * distances
        worth[taken] = -1
        best = int(worth.argmax())
        taken.append(best)
        if placed[best]:
            draw_near(vectors[places[best]][None])
    return [candidates[index] for index in taken]


def _unit(embeddings: list[bytes]) -> NDArray[np.float32]:
    """[n, features] of length 1, so that a product is a cosine."""
    import numpy as np

    rows = np.stack([np.frombuffer(data, "<f2") for data in embeddings]).astype(np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, 1e-12))
