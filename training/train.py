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
from torch import Tensor
from torch.nn.functional import cross_entropy, dropout

from shared.model.classifier import Head
from shared.model.labels import SCRATCHES
from training.features import Features
from training.params import TrainParams
from training.threshold import choose_threshold
from training.workspace import Workspace, stage_parser, start

#: below this a feature says nothing, and dividing by it would magnify noise
_LEAST_DEVIATION = 1e-3
_TEMPERATURES = np.geomspace(0.2, 10, 400)
_log = logging.getLogger(__name__)


class Calibration(BaseModel):
    """How the head was found, and how sure its logits are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float
    #: `scratches` from this probability on; also chosen on the validation split
    threshold: float = 0.5
    weight_decay: float
    #: among how many heads the validation split chose: promises pay for it (`certify`)
    candidates: int = 1
    #: on the validation split, after calibration
    validation_loss: float
    #: of the training split, by epoch
    losses: tuple[float, ...]


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


def train(features: Features, params: TrainParams) -> tuple[Head, Calibration]:
    """The best head over all weight decays. The same input gives the same head."""
    training, validation = Batch.of(features, "train"), Batch.of(features, "validation")
    tried: list[tuple[Head, Calibration]] = []
    for decay in params.weight_decays:
        head, losses = fit(training, params, decay)
        temperature, loss = calibrate(logits_of(head, validation.values), validation.labels)
        _log.info("weight decay %g: validation loss %.4f", decay, loss)
        calibration = Calibration(
            temperature=temperature,
            weight_decay=decay,
            candidates=len(params.weight_decays),
            validation_loss=loss,
            losses=tuple(losses),
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
    head.scale.copy_((1 / (values.std(0) + _LEAST_DEVIATION)).half())
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


def run(params: TrainParams, work: Workspace) -> Calibration:
    head, calibration = train(Features.load(work.features), params)
    save(head, calibration, work)
    return calibration


def main(arguments: Sequence[str] | None = None) -> None:
    _, params, work = start(stage_parser(__doc__), arguments)
    run(params.train, work)


if __name__ == "__main__":
    main()
