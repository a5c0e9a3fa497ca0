"""The stage: what it reads, what it leaves, and that no test photo is ever used for a choice."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from shared.model.decode import Pixels
from shared.model.labels import LABELS
from shared.model.manifest import Backbone, Certificate
from training import certify, evaluate, train
from training.curves import coverage
from training.dataset import load_index
from training.evaluate import limits_of, measured
from training.extractor import SPEC, ExtractorSpec
from training.features import Features
from training.judged import Judged, slices
from training.params import CertifyParams, EvaluateParams, LimitsParams, Params, TrainParams
from training.prepare import make_index
from training.rowcache import RowCache
from training.workspace import Workspace

#: what so few photos can promise
PROMISED = CertifyParams(missed=0.6, false_alarms=0.9, confidence=0.7)


@pytest.fixture(scope="module")
def learning(params: Params) -> TrainParams:
    threshold = params.train.threshold.model_copy(update={"recall": 1.0})
    return params.train.model_copy(update={"threshold": threshold})


@pytest.fixture(scope="module")
def work(
    photos: Path, params: Params, learning: TrainParams, tmp_path_factory: pytest.TempPathFactory
) -> Workspace:
    """After `train` and `evaluate`, on features that need no tower."""
    done = Workspace(tmp_path_factory.mktemp("evaluated"))
    index = make_index(photos, params.prepare, RowCache(done.root / "hashes"))
    done.index.write_text(index.model_dump_json())
    pixels = [cv2.imread(str(photos / image.file)) for image in index.images]
    values = [[p.mean(), p.std(), p[0].mean(), p[:, 0].mean()] for p in pixels]
    Features(
        values=np.array(values, np.float32),
        labels=np.array([LABELS.index(image.label) for image in index.images]),
        splits=np.array([image.split for image in index.images]),
        sha256=np.array([image.sha256 for image in index.images]),
        groups=np.array([image.group for image in index.images]),
        means=np.zeros(4, bool),
        identity="none",
    ).save(done.features)
    done.extractor.mkdir()
    spec = ExtractorSpec(
        backbone=Backbone(model="none", tag="none"),
        preprocess=params.embed.preprocess,
        features=params.embed.features,
    )
    (done.extractor / SPEC).write_text(spec.model_dump_json())
    train.run(learning, done)
    certify.run(PROMISED, done)
    evaluate.run(params.evaluate.model_copy(update={"limits": None}), done)
    return done


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_predictions_are_a_row_a_test_photo(work: Workspace) -> None:
    index = load_index(work.index)
    rows = {row["file"]: row["label"] for row in _rows(work.predictions)}
    assert rows == {image.file: image.label for image in index.images if image.split == "test"}
    assert len(rows) == json.loads(work.metrics.read_text())["images"]


def test_the_numbers_follow_from_the_predictions(work: Workspace) -> None:
    metrics = json.loads(work.metrics.read_text())
    rows = _rows(work.predictions)
    found = [float(r["prob_scratches"]) for r in rows if r["label"] == "scratches"]
    assert metrics["recall"] == pytest.approx(np.mean(np.array(found) >= metrics["threshold"]))
    assert metrics["recall_low"] <= metrics["recall"] <= metrics["recall_high"]
    assert metrics["auroc_low"] <= metrics["auroc"] <= metrics["auroc_high"]


@pytest.mark.parametrize(
    ("plot", "columns"),
    [
        ("roc", {"false_alarm_rate", "recall"}),
        ("precision_recall", {"recall", "precision"}),
        ("reliability", {"probability", "scratched", "low", "high", "photos"}),
        ("confusion", {"actual", "predicted"}),
        ("coverage", {"coverage", "error"}),
    ],
)
def test_every_plot_has_its_rows(work: Workspace, plot: str, columns: set[str]) -> None:
    rows = _rows(work.plots / f"{plot}.csv")
    assert rows
    assert rows[0].keys() == columns


def test_the_report_loads_nothing_and_shows_every_mistake(work: Workspace) -> None:
    page = work.report.read_text()
    sources = re.findall(r'(?:src|href)="([^"]{0,20})', page)
    assert sources
    assert all(source.startswith("data:") for source in sources)
    assert "<script" not in page
    threshold = json.loads(work.metrics.read_text())["threshold"]
    for row in _rows(work.predictions):
        wrong = (float(row["prob_scratches"]) >= threshold) != (row["label"] == "scratches")
        assert (row["file"] in page) == wrong


def test_no_test_photo_is_used_for_a_choice(
    work: Workspace, learning: TrainParams, tmp_path: Path
) -> None:
    """Head, temperature and threshold stay, byte for byte, whatever the test split holds."""
    features = Features.load(work.features)
    tested = features.splits == "test"
    features.labels[tested] = 1 - features.labels[tested]
    features.values[tested] = np.random.default_rng(0).normal(9, 50, (tested.sum(), 4))
    other = Workspace(tmp_path)
    features.save(other.features)
    train.run(learning, other)
    assert other.head.read_bytes() == work.head.read_bytes()
    assert other.calibration.read_bytes() == work.calibration.read_bytes()


def _judged() -> Judged:
    files = ("scratches/a/1.jpg", "scratches/a/b/2.jpg", "no_scratches/a/3.jpg", "scratches/4.jpg")
    return Judged(files, np.array([0.9, 0.2, 0.1, 0.8]), np.array([1, 1, 0, 1]))


def test_slices_are_the_folders_below_the_labels_worst_first() -> None:
    found = slices(_judged(), 0.5)
    assert [(one.folder, one.photos, one.accuracy) for one in found] == [
        ("a/b", 1, 0),
        (".", 1, 1),
        ("a", 2, 1),
    ]
    assert (found[0].recall, found[0].specificity) == (0, None)


def test_shares_have_exact_intervals_and_the_rest_is_bootstrapped() -> None:
    found, ranges = measured(_judged(), 0.5, EvaluateParams(bins=5, resamples=50))
    assert found.keys() == ranges.keys()
    assert ranges["specificity"] == pytest.approx((0.025, 1))
    assert ranges["auroc"] == (1, 1)


def test_limits_are_measured_on_the_clean_test_photos_alone(work: Workspace) -> None:
    index = load_index(work.index)
    clean = [i for i in index.images if i.split == "test" and i.label == "no_scratches"]
    pictures = [cv2.imread(str(index.root / image.file))[..., ::-1] for image in clean]
    seen: list[Pixels] = []

    def decide(photos: Sequence[Pixels]) -> NDArray[np.bool_]:
        seen.extend(photos)
        return np.zeros(len(photos), bool)

    params = LimitsParams(widths=(0.02,), contrasts=(0.5,), trials=len(clean))
    found = limits_of(index, decide, params)
    assert found is not None
    assert found.photos == len(clean)
    for photo in seen[: len(clean)]:
        assert any((photo == picture).all() for picture in pictures)


def test_a_model_that_sees_scratches_everywhere_has_no_limits(work: Workspace) -> None:
    everywhere = LimitsParams(trials=1)
    index = load_index(work.index)
    assert limits_of(index, lambda photos: np.ones(len(photos), bool), everywhere) is None


def test_the_verdicts_on_test_photos_are_counted(work: Workspace) -> None:
    metrics = json.loads(work.metrics.read_text())
    certificate = Certificate.model_validate_json(work.certificate.read_text())
    p = [(float(r["prob_scratches"]), r["label"]) for r in _rows(work.predictions)]

    assert certificate.clean_below is not None and certificate.scratched_from is not None
    scratched = [probability for probability, label in p if label == "scratches"]
    missed = sum(probability < certificate.clean_below for probability in scratched)
    assert metrics["verdict_missed"] == pytest.approx(missed / len(scratched), abs=1e-5)
    report = work.report.read_text()
    assert "missed scratches at most 60 %, 70 % confidence, from n = 3 held-out images" in report


def test_coverage_counts_the_surest_first() -> None:
    rows = coverage(np.array([0.99, 0.4, 0.2, 0.55]), np.array([1, 1, 0, 0]))

    assert [row["coverage"] for row in rows] == [0.25, 0.5, 0.75, 1]
    assert [row["error"] for row in rows] == [0, 0, 0.33333, 0.5]
