"""A head must learn, repeat, and know how sure it may be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from shared.model.classifier import Head
from training import train as training_train
from training.features import Features
from training.params import Params, TrainParams
from training.train import Batch, Calibration, _layers, calibrate, fit, logits_of, run, train
from training.workspace import Workspace


@pytest.fixture
def features() -> Features:
    """Two clouds in 6 dimensions that overlap a little."""
    rng = np.random.default_rng(0)
    labels = np.arange(300) % 2
    values = rng.normal(0, 3, (300, 6)) + labels[:, None] * 3 + 40
    return Features(
        values=values.astype(np.float32),
        labels=labels,
        splits=np.repeat(["train", "validation", "test"], 100),
        sha256=np.arange(300).astype(str),
        groups=np.arange(300),
        means=np.zeros(6, bool),
        identity="x",
    )


@pytest.mark.parametrize("hidden", [0, 8])
def test_the_loss_falls(features: Features, params: Params, hidden: int) -> None:
    chosen = params.train.model_copy(update={"hidden": hidden})
    head, losses = fit(Batch.of(features, "train"), chosen, 0.1)
    assert losses[-1] < 0.7 * losses[0]
    values, labels = features.of("test")
    predicted = logits_of(head, torch.from_numpy(values)).argmax(1).numpy()
    assert (predicted == labels).mean() > 0.8


def test_the_same_seed_gives_the_same_head(features: Features, params: Params) -> None:
    first, second = (train(features, params.train) for _ in range(2))
    assert first[1] == second[1]
    assert all(map(torch.equal, first[0].state_dict().values(), second[0].state_dict().values()))


def test_another_seed_gives_another_head(features: Features, params: Params) -> None:
    batch = Batch.of(features, "train")
    first, second = (
        fit(batch, params.train.model_copy(update={"seed": seed}), 0.1)[0] for seed in (0, 1)
    )
    assert not torch.equal(first.layers[0].weight, second.layers[0].weight)


def test_nobody_elses_random_numbers_change(features: Features, params: Params) -> None:
    before = torch.random.get_rng_state()
    fit(Batch.of(features, "train"), params.train, 0.1)
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_feature_that_never_varies_does_no_harm(features: Features, params: Params) -> None:
    features.values[:, 0] = 7
    head, _ = fit(Batch.of(features, "train"), params.train, 0.1)
    assert all(torch.isfinite(value).all() for value in head.state_dict().values())


def test_the_stored_head_answers_as_the_trained_one(
    features: Features, params: Params, work: Workspace
) -> None:
    features.save(work.features)
    run(params.train, work)
    head, _ = train(features, params.train)
    values = torch.from_numpy(features.values)
    assert torch.equal(logits_of(Head.from_file(work.head), values), logits_of(head, values))


@pytest.mark.parametrize(("hold_out", "held_out"), [(100, True), (101, False)])
def test_what_promises_rest_on_is_not_learned_from_where_photos_are_many(
    features: Features, params: Params, hold_out: int, held_out: bool
) -> None:
    _, calibration = train(features, params.train.model_copy(update={"hold_out": hold_out}))
    assert calibration.held_out is held_out
    # Then other validation photos give the same head, or do not
    changed = replace(features, values=features.values.copy())
    changed.values[features.splits == "validation"] *= -1
    heads = [
        train(each, params.train.model_copy(update={"hold_out": hold_out}))[0].state_dict()
        for each in (features, changed)
    ]
    same = all(torch.equal(heads[0][name], heads[1][name]) for name in heads[0])
    assert same is held_out


@pytest.mark.parametrize(("large", "tried"), [(100, True), (101, False)])
def test_layers_are_tried_where_photos_are_many(
    features: Features,
    params: Params,
    large: int,
    tried: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    better = Head(6), Calibration(temperature=1, weight_decay=1, validation_loss=0)
    monkeypatch.setattr(training_train, "_layers", lambda *_: better)
    _, calibration = train(features, params.train.model_copy(update={"large": large}))
    assert (calibration.weight_decay == 1) is tried
    assert (calibration.ridge is None) is tried


def test_weight_decay_is_chosen_on_the_validation_split(features: Features, params: Params) -> None:
    losses = {
        decay: _layers(features, _only(params.train, decay))[1].validation_loss
        for decay in (0.01, 30.0)
    }
    both = params.train.model_copy(update={"weight_decays": (0.01, 30.0)})
    chosen = _layers(features, both)[1]
    assert chosen.weight_decay == min(losses, key=lambda decay: losses[decay])


def _only(params: TrainParams, decay: float) -> TrainParams:
    return params.model_copy(update={"weight_decays": (decay,)})


def test_calibration_finds_how_much_too_sure_logits_are() -> None:
    generator = torch.Generator().manual_seed(0)
    margins = torch.randn(20_000, generator=generator) * 2
    labels = (torch.rand(20_000, generator=generator) < torch.sigmoid(margins)).long()
    honest = torch.stack([torch.zeros_like(margins), margins], 1)
    assert calibrate(honest, labels)[0] == pytest.approx(1, rel=0.05)
    assert calibrate(honest * 3, labels)[0] == pytest.approx(3, rel=0.05)
