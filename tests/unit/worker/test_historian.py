"""Every answered image is kept, after its answer, and no answer waits for it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.contract import Failure, InspectJob, Outcome, Prediction
from shared.errors import HistoryUnavailable
from shared.history.store import HistoryStore
from shared.settings import Settings
from worker.historian import Historian
from worker.seen import Seen

SAID = Prediction(pred="scratches", prob_no_scratches=0.25, prob_scratches=0.75)


def seen(number: int = 1) -> Seen:
    job = InspectJob(
        id=f"{number:032x}", sha256="ab" * 32, size=5, accepted_at=1, deadline_at=2, client="me"
    )
    return Seen(
        job=job, image=b"image", threshold=0.4, verdict="so", embedding=b"\0\0", embedding_space="s"
    )


def outcome(number: int = 1, failure: Failure | None = None) -> Outcome:
    return Outcome(
        id=f"{number:032x}", sha256="ab" * 32, prediction=None if failure else SAID,
        failure=failure, model="m@1", variant="v",
    )  # fmt: skip


@pytest.fixture
def counts() -> Counter[str]:
    return Counter()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[HistoryStore]:
    store = HistoryStore(Settings(_env_file=None, data_dir=tmp_path))
    yield store
    store.close()


@pytest.fixture
def historian(store: HistoryStore, counts: Counter[str]) -> Historian:
    def count(what: str, images: int) -> None:
        counts[what] += images

    return Historian(store, count)


def test_an_answered_image_is_kept_with_its_answer(
    historian: Historian, store: HistoryStore, counts: Counter[str]
) -> None:
    historian.see(seen())
    historian.answered(outcome())
    historian.start()
    historian.close(60)

    kept = store.find(seen().job.id)
    assert kept and store.image(kept) == b"image"
    assert (kept.pred, kept.prob_scratches, kept.threshold) == ("scratches", 0.75, 0.4)
    assert (kept.model, kept.client, kept.sha256) == ("m@1", "me", "ab" * 32)
    assert (kept.verdict, kept.embedding, kept.embedding_space) == ("so", b"\0\0", "s")
    assert counts == {"kept": 1, "failed": 0}


def test_what_has_no_answer_of_ours_is_not_kept(historian: Historian, store: HistoryStore) -> None:
    historian.answered(outcome(1))  # nothing was seen
    historian.see(seen(2))
    historian.answered(outcome(2, Failure(code="inference_failed", message="")))
    historian.answered(outcome(2))  # what was seen is spent
    historian.see(seen(3))  # its answer was not the first: nobody says that it was stored
    historian.answered(outcome(4))
    historian.see(seen(5))
    other = threading.Thread(target=historian.answered, args=[outcome(5)])
    other.start()
    other.join()
    historian.start()
    historian.close(60)

    assert store.count_unlabelled() == 0


def test_what_does_not_fit_is_counted_and_let_go(
    historian: Historian, store: HistoryStore, counts: Counter[str]
) -> None:
    for number in range(260):
        historian.see(seen(number))
        historian.answered(outcome(number))  # nobody writes yet: it returns all the same
    historian.start()
    historian.close(20)

    assert counts == {"skipped": 4, "kept": 256, "failed": 0}


def test_a_history_that_is_away_costs_images_and_nothing_else(
    historian: Historian,
    store: HistoryStore,
    counts: Counter[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def away(*_: object) -> int:
        raise HistoryUnavailable

    monkeypatch.setattr(store, "keep", away)
    historian.see(seen())
    historian.answered(outcome())
    historian.start()
    historian.close(60)

    assert counts == {"kept": 0, "failed": 1}
