"""What another head says of kept embeddings, and of kept images where it must."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cli.recall import recall
from shared.history.store import HistoryStore
from shared.model.embedding import packed
from shared.model.inspector import Inspector, open_inspector
from shared.settings import Settings
from tests.checkpoints import tiny_checkpoint, tiny_variant
from tests.fakes_history import answered
from tests.photos import jpeg

PHOTOS = 12


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`before`, `opposite` on the same tower, and `stranger` on another."""
    folder = tmp_path_factory.mktemp("models")
    tiny_checkpoint(folder / "before", openvino=True, name="before")
    tiny_variant(
        folder / "before", folder / "opposite", name="opposite", factor=-1.0, resize="squash"
    )
    tiny_checkpoint(folder / "stranger", name="stranger", seed=7)
    return folder


@pytest.fixture
def settings(tmp_path: Path, models: Path) -> Settings:
    return Settings(_env_file=None, data_dir=tmp_path, history_days=30, ckpts=models)


@pytest.fixture
def store(settings: Settings, models: Path) -> Iterator[HistoryStore]:
    """What a worker with `before` has kept of photos."""
    store = HistoryStore(settings)
    store.keep([_kept(n, opened(models / "before")) for n in range(PHOTOS)])
    yield store
    store.close()


_OPEN: dict[Path, Inspector] = {}


def opened(folder: Path) -> Inspector:
    return _OPEN.setdefault(folder, open_inspector(folder))


def _kept(number: int, inspector: Inspector, **fields: Any) -> Any:
    image = jpeg(number)
    (found,) = inspector.embed(inspector.preprocess(image)[None])
    verdict = inspector.postprocess(found.logits)
    assert found.features is not None
    plain = {
        "model": inspector.manifest.title,
        "pred": verdict.pred,
        "prob_scratches": verdict.prob_scratches,
        "embedding": packed(found.features),
        "embedding_space": inspector.embedding_space,
    }
    return answered(number, **(plain | fields)), image


def rows(capsys: pytest.CaptureFixture[str]) -> tuple[list[dict[str, str]], str]:
    out, err = capsys.readouterr()
    return list(csv.DictReader(out.splitlines())), err


@pytest.mark.usefixtures("store")
def test_changed_answers_come_worst_first(
    settings: Settings, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert recall(models / "opposite", settings, images=False, as_json=False) == 0

    found, said = rows(capsys)
    expected = {}
    for number in range(PHOTOS):
        before, now = (opened(models / n).inspect(jpeg(number)) for n in ("before", "opposite"))
        if before.pred != now.pred:
            expected[answered(number).task_id] = now.prob_scratches
    assert len(expected) > 3
    assert {row["task_id"]: float(row["now_prob_scratches"]) for row in found} == pytest.approx(
        expected, abs=0.01
    )
    passed = [row["pred"] == "no_scratches" for row in found]
    assert passed == sorted(passed, reverse=True)
    sure = [float(row["now_prob_scratches"]) for row in found if row["pred"] == "no_scratches"]
    assert sure == sorted(sure, reverse=True)
    assert f"{PHOTOS} answers of other models judged again, {len(found)} changed" in said


@pytest.mark.usefixtures("store")
def test_its_own_answers_are_not_judged_again(
    settings: Settings, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert recall(models / "before", settings, images=False, as_json=True) == 0
    out, err = capsys.readouterr()
    assert out == "" and ": 0 answers of other models" in err


@pytest.mark.usefixtures("store")
def test_another_tower_needs_images_and_says_so(
    settings: Settings, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert recall(models / "stranger", settings, images=False, as_json=False) == 0
    found, said = rows(capsys)
    assert found == [] and f"{PHOTOS} left out: no embedding of this tower" in said

    assert recall(models / "stranger", settings, images=True, as_json=True) == 0
    out, err = capsys.readouterr()
    assert f"{PHOTOS} answers of other models judged again" in err and "left out" not in err
    for line in out.splitlines():
        one = json.loads(line)
        number = next(n for n in range(PHOTOS) if answered(n).task_id == one["task_id"])
        assert one["now_pred"] == opened(models / "stranger").inspect(jpeg(number)).pred


def test_answers_without_embeddings_are_counted(
    settings: Settings, models: Path, store: HistoryStore, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = _kept(50, opened(models / "before"), embedding=None, embedding_space=None)
    store.keep([bare])
    assert recall(models / "opposite", settings, images=False, as_json=False) == 0
    assert "1 left out" in rows(capsys)[1]


def test_chunks_hold_everything_once(store: HistoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.history.store._CHUNK", 5)
    chunks = list(store.chunks())
    assert [len(chunk) for chunk in chunks] == [5, 5, 2]
    assert len({answer.task_id for chunk in chunks for answer in chunk}) == PHOTOS


def test_without_a_history_nothing_is_recalled(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(_env_file=None, data_dir=tmp_path)
    assert recall(models / "before", settings, images=False, as_json=False) == 2
    assert "SCRATCH_HISTORY_DAYS" in capsys.readouterr().err


def test_no_such_model_is_one_sentence(
    settings: Settings, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert recall(models / "none", settings, images=False, as_json=False) == 2
    assert "no checkpoint" in capsys.readouterr().err


def test_an_embedding_is_half_precision_and_never_infinite() -> None:
    features = np.array([0.1, -1e9, 1e9], np.float32)
    assert np.frombuffer(packed(features), "<f2").tolist() == [
        pytest.approx(0.1, rel=1e-3),
        -65504,
        65504,
    ]
