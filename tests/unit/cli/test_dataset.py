"""From what people said to a folder to train from; and from there, when it is to be forgotten."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fakeredis
import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from cli import ab, dataset
from cli.models import Fleet, Refused, refusing
from shared.history.store import HistoryStore
from shared.records import final_meta, heatmap_key, result_key, upload_key
from shared.rollout import RolloutStore
from shared.settings import Settings
from shared.trials import TrialStore
from shared.worklist import Worklist
from tests.fakes_api import outcome
from tests.fakes_history import answered, keep, photo, say

ONE, TWO = answered(1), answered(2)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(_env_file=None, data_dir=tmp_path / "data", history_days=30)


@pytest.fixture
def store(settings: Settings) -> Iterator[HistoryStore]:
    with dataset.open_history(settings) as store:
        yield store


@pytest.fixture
def redis(monkeypatch: pytest.MonkeyPatch) -> Any:
    redis: Any = fakeredis.FakeRedis()
    fleet = Fleet(RolloutStore(redis), TrialStore(redis), Worklist(redis, record_ttl_s=60))
    for module in (ab, dataset):
        monkeypatch.setattr(module, "open_fleet", lambda _: fleet)
    return redis


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".exported.json"
    }


def name(label: str, number: int) -> str:
    return f"{label}/{answered(number).sha256}.jpeg"


def test_labelled_photos_become_a_folder_by_their_last_label(
    store: HistoryStore, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(store, ONE, TWO, answered(3), answered(4, sha256=TWO.sha256))
    for answer, label in ((ONE, "no_scratches"), (ONE, "scratches"), (TWO, "no_scratches")):
        say(store, answer, label)

    assert dataset.export(tmp_path / "out", settings) == 0

    expected = {name("scratches", 1): photo(1), name("no_scratches", 2): photo(2)}
    assert files(tmp_path / "out") == expected
    assert "1 scratches, 1 no_scratches; 2 new, 0 relabelled, 0 removed" in capsys.readouterr().out


def test_again_only_what_changed(
    store: HistoryStore,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    keep(store, ONE, TWO, answered(3))
    for answer in (ONE, TWO, answered(3)):
        say(store, answer, "scratches")
    dataset.export(out, settings)
    (out / "scratches" / "of-somebody-else.jpg").write_bytes(b"mine")
    (out / name("scratches", 3)).unlink()
    say(store, ONE, "no_scratches")
    say(store, TWO, None)
    read: list[str] = []
    real = HistoryStore.image
    monkeypatch.setattr(
        HistoryStore, "image", lambda self, a: read.append(a.task_id) or real(self, a)
    )

    dataset.export(out, settings)

    assert files(out) == {
        name("no_scratches", 1): photo(1),
        name("scratches", 3): photo(3),
        "scratches/of-somebody-else.jpg": b"mine",
    }
    assert read == [answered(3).task_id], "what is there is not read again"
    assert "1 new, 1 relabelled, 1 removed" in capsys.readouterr().out


def test_a_labelled_photo_whose_file_is_gone_is_said(
    store: HistoryStore, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(store, ONE)
    say(store, ONE, "scratches")
    found = store.find(ONE.task_id)
    assert found
    store.files.delete(found.file_key)

    assert dataset.export(tmp_path / "out", settings) == 0
    assert files(tmp_path / "out") == {}
    assert "of 1 labelled photos the files are gone" in capsys.readouterr().err


def test_the_queue_names_the_least_sure_first(
    store: HistoryStore, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(store, ONE, answered(2, prob_scratches=0.55), answered(3, prob_scratches=0.99))

    dataset.queue(settings, count=2, as_json=True)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["task_id"] for line in lines] == [answered(2).task_id, ONE.task_id]
    assert lines[0]["prob_scratches"] == 0.55

    dataset.queue(settings, count=1, as_json=False)
    assert capsys.readouterr().out.startswith(f"{answered(2).task_id}  0.550  scratches")


def test_forgetting_leaves_nothing_in_redis_and_the_folder_either(
    store: HistoryStore, settings: Settings, redis: Any, tmp_path: Path
) -> None:
    keep(store, ONE, answered(9, sha256=ONE.sha256))
    say(store, ONE, "scratches")
    dataset.export(tmp_path / "out", settings)
    keys = [key(ONE.task_id) for key in (upload_key, heatmap_key, result_key)]
    for key in [*keys, result_key(answered(9).task_id), result_key(TWO.task_id)]:
        redis.set(key, "x")

    assert dataset.forget(ONE.task_id, settings) == 0

    assert [key.decode() for key in redis.scan_iter()] == [result_key(TWO.task_id)]
    dataset.export(tmp_path / "out", settings)
    assert files(tmp_path / "out") == {}
    with pytest.raises(Refused, match="no task"):
        dataset.forget(ONE.task_id, settings)


def test_a_redis_that_is_away_does_not_keep_the_photo(
    store: HistoryStore,
    settings: Settings,
    redis: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def away(*_: object) -> int:
        raise RedisConnectionError("away")

    monkeypatch.setattr(redis, "unlink", away)
    keep(store, ONE)

    assert dataset.forget(ONE.task_id, settings) == 1
    assert store.find(ONE.task_id) is None
    assert "until it expires" in capsys.readouterr().err


def test_where_the_history_is_off_pruning_leaves_labelled_photos_alone(
    store: HistoryStore, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(store, answered(1, at=1.0), answered(2, at=1.0))
    say(store, TWO, "scratches")

    dataset.prune_now(settings.model_copy(update={"history_days": 0}))

    assert store.find(ONE.task_id) is None and store.find(TWO.task_id)
    assert capsys.readouterr().out == "removed 1 photos\n"


def test_labels_of_a_trial_are_words_like_others(
    store: HistoryStore, settings: Settings, redis: Any
) -> None:
    keep(store, ONE)
    redis.set(result_key(TWO.task_id), final_meta(outcome(TWO.task_id)))
    for task_id in (ONE.task_id, TWO.task_id, "unknown"):
        assert ab.label(task_id, "no_scratches", settings) == 0

    assert set(TrialStore(redis).read("t").labels) == {ONE.task_id, TWO.task_id, "unknown"}
    (kept,), (answer,), (unknown,) = (
        store.words(task_id) for task_id in (ONE.task_id, TWO.task_id, "unknown")
    )
    assert (kept.sha256, kept.pred, kept.source) == (ONE.sha256, "scratches", "cli")
    assert (answer.sha256, answer.prob_scratches) == ("00", 0.75)
    assert (unknown.sha256, unknown.label) == (None, "no_scratches")
    assert [label for _, label in store.labelled_images()] == ["no_scratches"]


def test_a_history_that_is_away_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").write_text("no folder")
    broken = Settings(_env_file=None, data_dir=tmp_path / "data")

    assert refusing(lambda: dataset.queue(broken, count=1, as_json=False)) == 2
    assert capsys.readouterr().err == "scratch: The history of images and labels does not answer.\n"
