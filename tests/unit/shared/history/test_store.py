"""What is kept is found again, the last word counts, and what is forgotten leaves no trace."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from shared.errors import HistoryUnavailable
from shared.history.store import HistoryStore
from shared.settings import Settings
from tests.fakes_history import answered, keep, photo, say

ONE, TWO = answered(1), answered(2, pred="no_scratches", prob_scratches=0.25)


def test_what_was_kept_is_found_again(store: HistoryStore) -> None:
    full = answered(3, client="c" * 16, verdict="sure", embedding=b"\0\x3c", embedding_space="s")
    keep(store, ONE, full)

    found = store.find(full.task_id)
    assert found and found.file_key == f"2027-01-15/{full.task_id}"
    assert vars(found) | {"file_key": ""} == vars(full)
    assert store.image(found) == photo(3)
    assert store.find("f" * 32) is None


def test_a_task_that_ran_twice_is_kept_once(store: HistoryStore) -> None:
    keep(store, ONE)
    keep(store, ONE, TWO)

    assert store.count_unlabelled() == 2


def test_from_an_image_that_cannot_be_written_on_none_is_kept(
    store: HistoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = store.files.write

    def full(key: str, image: bytes) -> None:
        if image == photo(1):
            raise HistoryUnavailable
        write(key, image)

    monkeypatch.setattr(store.files, "write", full)

    assert store.keep([(answered(n), photo(n)) for n in (2, 1, 3)]) == 1
    assert store.find(TWO.task_id)
    assert store.find(ONE.task_id) is None and store.find(answered(3).task_id) is None


def test_the_last_word_about_a_photo_counts_and_all_are_kept(store: HistoryStore) -> None:
    keep(store, ONE, TWO)
    say(store, ONE, "scratches", key_name="anna", note="deep")
    say(store, ONE, "no_scratches", key_name="ben")

    assert [(a.task_id, label) for a, label in store.labelled_images()] == [
        (ONE.task_id, "no_scratches")
    ]
    words = store.words(ONE.task_id)
    assert [(w.label, w.key_name, w.note) for w in words] == [
        ("scratches", "anna", "deep"),
        ("no_scratches", "ben", None),
    ]
    assert words[0].pred == "scratches" and words[0].prob_scratches == 0.75
    assert store.count_unlabelled() == 1


def test_a_word_that_is_taken_back_counts_no_more(store: HistoryStore) -> None:
    keep(store, ONE)
    say(store, ONE, "scratches")
    say(store, ONE, None)

    assert store.labelled_images() == []
    assert store.count_unlabelled() == 1


def test_two_tasks_with_one_photo_have_one_label(store: HistoryStore) -> None:
    again = answered(9, sha256=ONE.sha256, at=ONE.at + 1)
    keep(store, ONE, again)
    assert store.count_unlabelled() == 1

    say(store, again, "scratches")
    say(store, ONE, "no_scratches")

    assert [(a.task_id, label) for a, label in store.labelled_images()] == [
        (ONE.task_id, "no_scratches")
    ]
    assert store.count_unlabelled() == 0


def test_a_word_about_an_image_that_is_not_kept_is_kept(store: HistoryStore) -> None:
    say(store, ONE, "scratches")

    assert len(store.words(ONE.task_id)) == 1
    assert store.labelled_images() == []


def test_what_is_forgotten_leaves_no_trace(store: HistoryStore, settings: Settings) -> None:
    copy = answered(9, sha256=ONE.sha256)
    keep(store, ONE, TWO, copy)
    for answer in (ONE, TWO, copy):
        say(store, answer, "scratches", note="mine")

    tasks, words = store.forget(ONE.task_id)
    assert sorted(tasks) == [ONE.task_id, copy.task_id] and words == 2

    assert store.find(ONE.task_id) is None and store.find(copy.task_id) is None
    assert store.words(ONE.task_id) == [] and store.words(copy.task_id) == []
    files = [path.name for path in (settings.data_dir / "history").rglob("*") if path.is_file()]
    assert files == [TWO.task_id]
    assert store.words(TWO.task_id)
    assert store.forget(ONE.task_id) == ([], 0)


def test_words_alone_are_forgotten_too(store: HistoryStore) -> None:
    say(store, ONE, "scratches", note="mine")

    assert store.forget(ONE.task_id) == ([], 1)
    assert store.words(ONE.task_id) == []


def test_files_are_their_owners_alone(store: HistoryStore, settings: Settings) -> None:
    keep(store, ONE)
    found = store.find(ONE.task_id)
    assert found
    image = settings.data_dir / "history" / found.file_key

    assert stat.S_IMODE(image.parent.stat().st_mode) == 0o700
    database = settings.data_dir / "history.db"
    if database.exists():  # not on Postgres
        assert stat.S_IMODE(database.stat().st_mode) == 0o600


def test_a_store_that_is_away_is_an_error_of_ours_and_asked_again(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where a folder should be")
    store = HistoryStore(Settings(_env_file=None, data_dir=tmp_path / "data"))
    with pytest.raises(HistoryUnavailable):
        store.find(ONE.task_id)

    (tmp_path / "data").unlink()
    assert store.find(ONE.task_id) is None
    store.close()


@pytest.mark.parametrize("url", ["nonsense", "nosuchdb://x/y", "postgresql://127.0.0.1:1/x"])
def test_a_url_that_leads_nowhere_is_an_error_of_ours(tmp_path: Path, url: str) -> None:
    store = HistoryStore(Settings(_env_file=None, data_dir=tmp_path, history_url=url))
    with pytest.raises(HistoryUnavailable):
        store.count_unlabelled()
