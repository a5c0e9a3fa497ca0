"""Where photos are few, all are learned from, and none is judged by a head that has seen it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from training import crossval
from training.crossval import judge, too_few
from training.features import Features
from training.params import Params
from training.ridge import Photos

COUNT = 30


def clouds(separation: float, seed: int = 0) -> Photos:
    rng = np.random.default_rng(seed)
    labels = np.arange(COUNT) % 2
    values = rng.normal(0, 1, (COUNT, 6)) + labels[:, None] * separation
    return Photos(values.astype(np.float32), labels, np.arange(COUNT), np.zeros(6, bool))


@pytest.fixture(autouse=True)
def once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crossval, "_REPEATS", 1)


def test_clouds_apart_are_told_apart(params: Params) -> None:
    everything = clouds(4)
    probabilities = judge([everything], params.train)
    assert probabilities.shape == (1, COUNT)
    assert ((probabilities[0] > 0.5) == everything.labels.astype(bool)).mean() > 0.9


def test_noise_is_not_praised(params: Params) -> None:
    """A head that had seen what it judges would be right on nearly all of it."""
    everything = clouds(0)
    right = (judge([everything], params.train)[0] > 0.5) == everything.labels
    assert right.mean() < 0.75


def test_choosing_among_noises_is_not_praised(params: Params) -> None:
    """Of many views that show nothing, the one that seems to is chosen without the judged photo."""
    views = [clouds(0, seed) for seed in range(8)]
    right = (judge(views, params.train)[0] > 0.5) == views[0].labels
    assert right.mean() < 0.75


def test_near_duplicates_do_not_help_each_other(params: Params) -> None:
    """Ten scenes of noise, three times each: known by heart if a twin is learned from."""
    rows = np.repeat(np.arange(10), 3)
    twins = replace(clouds(0).part(rows), groups=rows)
    right = (judge([twins], params.train)[0] > 0.5) == twins.labels
    assert right.mean() < 0.85


@pytest.mark.parametrize(("test_photos", "few"), [(19, True), (20, False)])
def test_the_smaller_class_decides(test_photos: int, few: bool) -> None:
    labels = np.array([1] * test_photos + [0] * 50)
    features = Features(
        values=np.zeros((len(labels), 1), np.float32),
        labels=labels,
        splits=np.full(len(labels), "test"),
        sha256=np.arange(len(labels)).astype(str),
        groups=np.arange(len(labels)),
        means=np.zeros(1, bool),
        identity="x",
    )
    assert too_few(features) is few
