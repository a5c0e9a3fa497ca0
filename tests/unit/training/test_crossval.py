"""Where photos are few, all are learned from, and none is judged by a head that has seen it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from training import crossval
from training.crossval import judge, learn, too_few
from training.features import Features
from training.params import Params
from training.train import Batch, logits_of

COUNT = 30


def clouds(separation: float, seed: int = 0) -> crossval._Set:
    rng = np.random.default_rng(seed)
    labels = np.arange(COUNT) % 2
    values = rng.normal(0, 1, (COUNT, 6)) + labels[:, None] * separation
    batch = Batch(torch.from_numpy(values.astype(np.float32)), torch.from_numpy(labels))
    return crossval._Set(batch, np.arange(COUNT))


@pytest.fixture(autouse=True)
def once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crossval, "_REPEATS", 1)


def test_clouds_apart_are_told_apart(params: Params) -> None:
    everything = clouds(4)
    probabilities = judge(everything, params.train)
    assert probabilities.shape == (1, COUNT)
    assert ((probabilities[0] > 0.5) == everything.batch.labels.numpy().astype(bool)).mean() > 0.9
    head, calibration = learn(everything, params.train)
    right = logits_of(head, everything.batch.values).argmax(1) == everything.batch.labels
    assert right.float().mean() > 0.9
    assert calibration.weight_decay in params.train.weight_decays


def test_few_photos_get_one_layer(params: Params) -> None:
    head, _ = learn(clouds(4), params.train.model_copy(update={"hidden": 8}))
    assert len(head.layers) == 1


def test_noise_is_not_praised(params: Params) -> None:
    """A head that had seen what it judges would be right on nearly all of it."""
    everything = clouds(0)
    right = (judge(everything, params.train)[0] > 0.5) == everything.batch.labels.numpy()
    assert right.mean() < 0.75


def test_near_duplicates_do_not_help_each_other(params: Params) -> None:
    """Ten scenes of noise, three times each: known by heart if a twin is learned from."""
    one = clouds(0)
    rows = np.repeat(np.arange(10), 3)
    twins = crossval._Set(one.part(rows).batch, rows)
    right = (judge(twins, params.train)[0] > 0.5) == twins.batch.labels.numpy()
    assert right.mean() < 0.85


@pytest.mark.parametrize(("test_photos", "few"), [(19, True), (20, False)])
def test_the_smaller_class_decides(test_photos: int, few: bool) -> None:
    labels = np.array([1] * test_photos + [0] * 50)
    features = Features(
        values=np.zeros((len(labels), 1), np.float32),
        labels=labels,
        splits=np.full(len(labels), "test"),
        sha256=np.arange(len(labels)).astype(str),
        identity="x",
    )
    assert too_few(features) is few
