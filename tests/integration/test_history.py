"""A real worker keeps what it answers, off the answer's way; without a history, nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.history.informative import most_informative
from shared.history.store import HistoryStore
from shared.records import result_key, task_key
from shared.settings import Settings
from tests.integration.service import ROOT, Service, running, wait_until

SAMPLES = sorted((ROOT / "docs" / "samples").glob("*.jpg"))


@pytest.fixture(scope="module")
def keeping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(tmp_path_factory.mktemp("history"), {"SCRATCH_HISTORY_DAYS": "1"}) as service:
        yield service


@pytest.fixture
def history(keeping: Service) -> Iterator[HistoryStore]:
    store = HistoryStore(Settings(_env_file=None, data_dir=keeping.folder / ".data"))
    yield store
    store.close()


def test_every_answered_image_is_kept_with_its_answer(
    keeping: Service, history: HistoryStore
) -> None:
    answers = {}
    for sample in SAMPLES:
        answer = keeping.upload(sample.read_bytes())
        answers[answer.headers["x-task-id"]] = (sample, answer)
    refused = keeping.upload(b"\xff\xd8\xff these are no pixels")
    assert refused.status_code == 422
    wait_until(lambda: len(most_informative(history, 100)) == len(SAMPLES))

    for task_id, (sample, answer) in answers.items():
        kept = history.find(task_id)
        assert kept and history.image(kept) == sample.read_bytes()
        assert kept.pred == answer.json()["pred"]
        assert kept.prob_scratches == answer.json()["prob_scratches"]
        assert kept.model == answer.headers["x-model"]


def test_feedback_outlives_what_redis_knows(keeping: Service, history: HistoryStore) -> None:
    task_id = keeping.upload(SAMPLES[0].read_bytes()).headers["x-task-id"]
    wait_until(lambda: history.find(task_id) is not None)
    keeping.redis.delete(task_key(task_id), result_key(task_id))
    assert keeping.http.get(f"/tasks/{task_id}").status_code == 404

    noted = keeping.http.post(f"/tasks/{task_id}/feedback", json={"label": "wrong"})

    assert noted.status_code == 200 and noted.json()["image_kept"] is True
    assert keeping.http.get(f"/tasks/{task_id}/image").content == SAMPLES[0].read_bytes()
    assert [word.label for word in history.words(task_id)] == [noted.json()["label"]]


def test_without_a_history_a_word_is_kept_and_no_photo(service: Service) -> None:
    task_id = service.upload(SAMPLES[0].read_bytes()).headers["x-task-id"]

    noted = service.http.post(f"/tasks/{task_id}/feedback", json={"label": "right"})

    assert noted.status_code == 200 and noted.json()["image_kept"] is False
    assert service.http.get(f"/tasks/{task_id}/image").json()["code"] == "image_not_kept"
    assert not (service.folder / ".data" / "history").exists()
    store = HistoryStore(Settings(_env_file=None, data_dir=Path(service.folder / ".data")))
    assert len(store.words(task_id)) == 1
    store.close()
