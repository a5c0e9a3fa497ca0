"""Stage `train`: features to a head, and the temperature that makes its answers probabilities."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from safetensors.torch import save_file
from scipy.special import expit
from torch import Tensor
from torch.nn.functional import cross_entropy, dropout

from shared.model.classifier import Head
from shared.model.labels import SCRATCHES
from training.features import Features
from training.params import TrainParams
from training.ridge import LEAST_DEVIATION, Choice, Labels, Learned, Photos, learn, losses
from training.threshold import choose_threshold
from training.workspace import Workspace, stage_parser, start

_TEMPERATURES = np.geomspace(0.2, 10, 400)
_log = logging.getLogger(__name__)


class Calibration(BaseModel):
    """How the head was found, and how sure its logits are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float
    #: `scratches` from this probability on; chosen without the test split, as the temperature is
    threshold: float = 0.5
    #: of a head in closed form
    ridge: Choice | None = None
    #: of layers trained step by step
    weight_decay: float | None = None
    #: whether the validation split was not learned from
    held_out: bool = False
    #: among how many heads the validation split chose: promises pay for it (`certify`)
    candidates: int = 1
    #: cross-entropy after calibration, on photos that were not learned from
    validation_loss: float
    #: of the training split, by epoch of the layers
    losses: tuple[float, ...] = ()


@dataclass(frozen=True)
class Batch:
    values: Tensor
    labels: Tensor

    @classmethod
    def of(cls, features: Features, split: str) -> Self:
        values, labels = features.of(split)
        return cls(torch.from_numpy(values), torch.from_numpy(labels))


@contextmanager
def one_thread() -> Iterator[None]:
    """The same head on any number of cores; for matrices this small, threads mostly wait."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def train(
    features: Features, params: TrainParams, learned: Learned | None = None
) -> tuple[Head, Calibration]:
    """The head of least loss. The same input gives the same head.

    Ridge regression learns from the splits of `learned_from` (`learned`, where that is done).
    Layers are tried where photos are many: with fewer they lose (measured: docs/classifier.md).
    """
    splits = learned_from(features, params)
    photos = Photos.of(features, *splits)
    learned = learned or learn(photos, params.ridge, params.seed)
    head, calibration = calibrated(learned, photos.labels, params)
    found = head, calibration.model_copy(update={"held_out": "validation" not in splits})
    _log.info("%s: cross-validated loss %.4f", found[1].ridge, found[1].validation_loss)
    if np.count_nonzero(features.splits == "train") < params.large or not found[1].held_out:
        return found
    head, calibration = min(
        found, _layers(features, params), key=lambda one: one[1].validation_loss
    )
    tried = len(params.weight_decays) + 1
    return head, calibration.model_copy(update={"candidates": tried})


def learned_from(features: Features, params: TrainParams) -> tuple[str, ...]:
    """The splits that a head of ridge regression learns from."""
    many = np.count_nonzero(features.splits == "train") >= params.hold_out
    return ("train",) if many else ("train", "validation")


def calibrated(learned: Learned, labels: Labels, params: TrainParams) -> tuple[Head, Calibration]:
    """Ridge answers in log-odds: what is left to choose is the threshold."""
    probabilities = expit(learned.margins)
    return learned.head, Calibration(
        temperature=1,
        threshold=choose_threshold(probabilities, labels, params.threshold),
        ridge=learned.choice,
        validation_loss=float(losses(learned.margins, labels).mean()),
    )


def _layers(features: Features, params: TrainParams) -> tuple[Head, Calibration]:
    """The best over all weight decays, on the validation split."""
    training, validation = Batch.of(features, "train"), Batch.of(features, "validation")
    tried: list[tuple[Head, Calibration]] = []
    for decay in params.weight_decays:
        head, by_epoch = fit(training, params, decay)
        temperature, loss = calibrate(logits_of(head, validation.values), validation.labels)
        _log.info("weight decay %g: validation loss %.4f", decay, loss)
        calibration = Calibration(
            temperature=temperature,
            weight_decay=decay,
            held_out=True,
            validation_loss=loss,
            losses=tuple(by_epoch),
        )
        tried.append((head, calibration))
    head, calibration = min(tried, key=lambda candidate: candidate[1].validation_loss)
    found = probabilities_of(head, validation.values.numpy(), calibration.temperature)
    threshold = choose_threshold(found, validation.labels.numpy(), params.threshold)
    return head, calibration.model_copy(update={"threshold": threshold})


@one_thread()
def fit(batch: Batch, params: TrainParams, weight_decay: float) -> tuple[Head, list[float]]:
    """One head, rounded to half precision so that any storage keeps its answers; loss by epoch."""
    with torch.random.fork_rng():
        torch.manual_seed(params.seed)
        head = _standardising(batch.values, params.hidden)
        losses = _descend(head, batch, params, weight_decay)
    for tensor in head.state_dict().values():
        tensor.copy_(tensor.half())
    return head.eval(), losses


def _standardising(values: Tensor, hidden: int) -> Head:
    head = Head(values.shape[1], hidden)
    head.shift.copy_(values.mean(0).half())
    head.scale.copy_((1 / (values.std(0) + LEAST_DEVIATION)).half())
    return head


def _descend(head: Head, batch: Batch, params: TrainParams, weight_decay: float) -> list[float]:
    optimizer = torch.optim.AdamW(
        head.parameters(), lr=params.learning_rate, weight_decay=weight_decay
    )
    count = len(batch.labels)
    steps = params.epochs * -(-count // params.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, params.learning_rate, steps)
    losses = []
    for _ in range(params.epochs):
        total = 0.0
        for rows in torch.split(torch.randperm(count), params.batch):
            # On what the head standardises to 0 means: the feature says nothing.
            seen = head.shift + dropout(batch.values[rows] - head.shift, params.dropout)
            loss = cross_entropy(head(seen), batch.labels[rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            total += loss.item() * len(rows)
        losses.append(total / count)
    return losses


@one_thread()
def logits_of(head: Head, values: Tensor) -> Tensor:
    with torch.inference_mode():
        logits: Tensor = head(values)
    return logits


def probabilities_of(
    head: Head, values: NDArray[np.float32], temperature: float
) -> NDArray[np.float64]:
    """Of scratches, calibrated."""
    logits = logits_of(head, torch.from_numpy(values)).double()
    found: NDArray[np.float64] = torch.softmax(logits / temperature, 1)[:, SCRATCHES].numpy()
    return found


@one_thread()
def calibrate(logits: Tensor, labels: Tensor) -> tuple[float, float]:
    """The temperature of least cross-entropy, and that cross-entropy."""
    found: NDArray[np.float64] = np.array(
        [cross_entropy(logits / float(t), labels).item() for t in _TEMPERATURES]
    )
    best = int(found.argmin())
    return float(_TEMPERATURES[best]), float(found[best])


def save(head: Head, calibration: Calibration, work: Workspace) -> None:
    tensors = {name: value.half().contiguous() for name, value in head.state_dict().items()}
    save_file(tensors, work.head)
    work.calibration.write_text(calibration.model_dump_json(indent=1))


def run(params: TrainParams, work: Workspace, learned: Learned | None = None) -> Calibration:
    head, calibration = train(Features.load(work.features), params, learned)
    save(head, calibration, work)
    return calibration


def main(arguments: Sequence[str] | None = None) -> None:
    _, params, work = start(stage_parser(__doc__), arguments)
    run(params.train, work)


if __name__ == "__main__":
    main()
