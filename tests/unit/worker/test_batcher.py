"""The batcher alone, with a model of our making."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import numpy as np
import pytest

from shared.errors import InferenceFailed, TaskTimedOut
from shared.model.decode import Pixels
from shared.model.evidence import Trace
from shared.model.runtime import Embedded, Logits
from worker.batcher import Answer, Batcher, Forward

FAR = float("inf")
Answers = Future[Answer]


def views(value: int) -> Pixels:
    return np.full((1, 4, 4, 3), value, np.uint8)


class Model:
    """Answers each image with its own value; can be held, and can refuse values."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.refused: set[int] = set()
        self.entered = threading.Event()
        self.gate = threading.Event()
        self.gate.set()

    def forward(self, batch: Pixels) -> Logits:
        values = [int(image.flat[0]) for image in batch]
        self.batches.append(values)
        self.entered.set()
        assert self.gate.wait(10)
        if self.refused & set(values):
            raise RuntimeError("the model chokes")
        return np.array([[0, value] for value in values], np.float32)

    def hold(self) -> None:
        """The next forward pass waits until `gate` is set."""
        self.entered.clear()
        self.gate.clear()


def _waiting(batcher: Batcher) -> int:
    with batcher._changed:  # else one would be seen that is handed over in this moment
        return len(batcher._urgent) + len(batcher._spare)


class Callers:
    """A thread for each image, as a worker has one for each task."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(32)

    def submit(self, batcher: Batcher, image: Pixels, forward: Forward, **how: Any) -> Answers:
        """Returns when the image waits for its turn, or is being judged, or was."""
        waiting, running = _waiting(batcher), len(batcher._busy_since)
        future = self._pool.submit(batcher.infer, image, forward, **{"deadline_at": FAR, **how})
        give_up_at = time.monotonic() + 10
        while not (
            future.done() or _waiting(batcher) > waiting or len(batcher._busy_since) > running
        ):
            assert time.monotonic() < give_up_at
            time.sleep(0.0005)
        return future

    def close(self) -> None:
        self._pool.shutdown()


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def callers() -> Iterator[Callers]:
    callers = Callers()
    yield callers
    callers.close()


@pytest.fixture
def batcher(model: Model) -> Iterator[Batcher]:
    batcher = Batcher(max_batch=4)
    yield batcher
    model.gate.set()
    batcher.close()


def test_a_lone_image_is_answered_at_once(batcher: Batcher, model: Model) -> None:
    answer = batcher.infer(views(7), model.forward, deadline_at=FAR)

    assert answer.logits.tolist() == [0, 7]
    assert answer.batch_size == 1


def test_what_arrives_during_a_forward_pass_forms_the_next_batches(
    batcher: Batcher, model: Model, callers: Callers
) -> None:
    model.hold()
    first = callers.submit(batcher, views(0), model.forward)
    assert model.entered.wait(5)
    rest = [callers.submit(batcher, views(n), model.forward) for n in range(1, 7)]
    model.gate.set()

    assert [f.result(5).logits[1] for f in [first, *rest]] == list(range(7))
    assert model.batches == [[0], [1, 2, 3, 4], [5, 6]]


def test_one_bad_image_does_not_fail_its_neighbours(
    batcher: Batcher, model: Model, callers: Callers
) -> None:
    model.refused = {2}
    model.hold()
    first = callers.submit(batcher, views(0), model.forward)
    assert model.entered.wait(5)
    futures = [callers.submit(batcher, views(n), model.forward) for n in (1, 2, 3)]
    model.gate.set()

    assert first.result(5).logits[1] == 0
    assert futures[0].result(5).logits[1] == 1
    assert futures[2].result(5).logits[1] == 3
    with pytest.raises(InferenceFailed):
        futures[1].result(5)


def test_no_batch_mixes_two_models(batcher: Batcher, model: Model, callers: Callers) -> None:
    other = Model()
    model.hold()
    first = callers.submit(batcher, views(0), model.forward)
    assert model.entered.wait(5)
    futures = [
        callers.submit(batcher, views(n), (model, other)[n % 2].forward) for n in range(1, 5)
    ]
    model.gate.set()

    assert [f.result(5).logits[1] for f in [first, *futures]] == [0, 1, 2, 3, 4]
    assert (model.batches, other.batches) == ([[0], [2, 4]], [[1, 3]])


def test_a_broken_model_does_not_fail_the_other_in_its_turn(
    batcher: Batcher, model: Model, callers: Callers
) -> None:
    other = Model()
    other.refused = {1}
    model.hold()
    first = callers.submit(batcher, views(0), model.forward)
    assert model.entered.wait(5)
    failing = callers.submit(batcher, views(1), other.forward)
    sound = callers.submit(batcher, views(2), model.forward)
    model.gate.set()

    assert (first.result(5).logits[1], sound.result(5).logits[1]) == (0, 2)
    with pytest.raises(InferenceFailed):
        failing.result(5)


def test_a_traced_image_brings_its_trace(batcher: Batcher, model: Model) -> None:
    def trace(batch: Pixels) -> list[Trace]:
        return [Trace(logits, np.ones((1, 3), np.float32), ()) for logits in model.forward(batch)]

    answer = batcher.infer(views(7), trace, deadline_at=FAR)

    assert answer.logits.tolist() == [0, 7]
    assert answer.trace and answer.trace.pooled.shape == (1, 3)


def test_an_embedded_image_brings_its_features(batcher: Batcher, model: Model) -> None:
    def embed(batch: Pixels) -> list[Embedded]:
        return [Embedded(logits, logits + 1) for logits in model.forward(batch)]

    answer = batcher.infer(views(7), embed, deadline_at=FAR)

    assert answer.logits.tolist() == [0, 7]
    assert answer.features is not None and answer.features.tolist() == [1, 8]
    assert batcher.infer(views(7), model.forward, deadline_at=FAR).features is None


def test_a_spare_image_waits_for_all_others_and_runs_alone(
    batcher: Batcher, model: Model, callers: Callers
) -> None:
    model.hold()
    first = callers.submit(batcher, views(0), model.forward)
    assert model.entered.wait(5)
    spare = [callers.submit(batcher, views(n), model.forward, spare=True) for n in (8, 9)]
    urgent = [callers.submit(batcher, views(n), model.forward) for n in (1, 2)]
    model.gate.set()

    assert [f.result(5).logits[1] for f in [first, *urgent, *spare]] == [0, 1, 2, 8, 9]
    assert model.batches == [[0], [1, 2], [8], [9]]


def test_a_late_image_is_dropped_before_the_forward_pass(batcher: Batcher, model: Model) -> None:
    with pytest.raises(TaskTimedOut):
        batcher.infer(views(1), model.forward, deadline_at=time.time() - 1)

    assert model.batches == []


def test_a_wrong_number_of_answers_is_a_failure_not_a_mix_up() -> None:
    def short(batch: Pixels) -> Logits:
        return np.zeros((0, 2), np.float32)

    batcher = Batcher(max_batch=2)

    with pytest.raises(InferenceFailed):
        batcher.infer(views(1), short, deadline_at=FAR)
    batcher.close()


def test_closing_answers_what_was_submitted_and_refuses_more(
    model: Model, callers: Callers
) -> None:
    batcher = Batcher(max_batch=1)
    model.hold()
    futures = [callers.submit(batcher, views(n), model.forward) for n in range(3)]
    assert model.entered.wait(5)
    closing = threading.Thread(target=batcher.close)
    closing.start()
    model.gate.set()
    closing.join(5)

    assert [f.result(5).logits[1] for f in futures] == [0, 1, 2]
    with pytest.raises(RuntimeError):
        batcher.infer(views(1), model.forward, deadline_at=FAR)


def test_a_stuck_forward_pass_can_be_seen(batcher: Batcher, model: Model, callers: Callers) -> None:
    assert batcher.busy_s() == 0
    model.hold()
    future = callers.submit(batcher, views(0), model.forward)
    assert model.entered.wait(5)

    assert batcher.busy_s() > 0
    model.gate.set()
    future.result(5)


def test_the_size_of_each_batch_is_told(model: Model) -> None:
    sizes: list[int] = []
    batcher = Batcher(max_batch=4, observe=sizes.append)
    batcher.infer(views(1), model.forward, deadline_at=FAR)
    batcher.close()

    assert sizes == [1]


def test_many_threads_get_their_own_answers(batcher: Batcher, model: Model) -> None:
    answers: dict[int, float] = {}

    def ask(start: int) -> None:
        for value in range(start, start + 25):
            answers[value] = batcher.infer(views(value), model.forward, deadline_at=FAR).logits[1]

    threads = [threading.Thread(target=ask, args=(25 * n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert answers == {value: value for value in range(200)}


def test_passes_run_beside_one_another_and_take_what_waits(model: Model, callers: Callers) -> None:
    # Given two passes, both held
    batcher = Batcher(max_batch=4, passes=2)
    model.hold()
    held = [callers.submit(batcher, views(value), model.forward) for value in (1, 2)]
    while len(model.batches) < 2:
        time.sleep(0.001)
    # When six more have come by the time they go on
    rest = [callers.submit(batcher, views(v), model.forward) for v in range(3, 9)]
    model.gate.set()
    wait([*held, *rest], 10)
    batcher.close()
    # Then the first that ends takes a full batch
    assert sorted(map(len, model.batches[:2])) == [1, 1]
    assert sorted(map(len, model.batches[2:])) == [2, 4]
    assert [future.result().logits[1] for future in [*held, *rest]] == list(range(1, 9))


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer than any test."""
    monkeypatch.setattr("worker.batcher._PATIENCE_S", 1000)


@pytest.fixture
def patient(batcher: Batcher, patience: None) -> Batcher:
    """Waits for what is being decoded."""
    batcher._last_pass = 4000
    return batcher


def test_a_pass_that_is_not_full_waits_for_what_is_being_decoded(
    patient: Batcher, model: Model, callers: Callers
) -> None:
    with patient.expecting():
        first = callers.submit(patient, views(1), model.forward)
        time.sleep(0.02)
        assert not model.batches
    second = patient.infer(views(2), model.forward, deadline_at=FAR)

    assert model.batches == [[1, 2]]
    assert (first.result(5).batch_size, second.batch_size) == (2, 2)


def test_a_full_pass_waits_for_nothing(patient: Batcher, model: Model, callers: Callers) -> None:
    with patient.expecting():
        futures = [callers.submit(patient, views(n), model.forward) for n in range(4)]
        wait(futures, 5)
    assert model.batches == [[0, 1, 2, 3]]


@pytest.mark.parametrize("last_pass", [0.02, 4000])
def test_nothing_waits_for_long(
    batcher: Batcher, model: Model, callers: Callers, last_pass: float
) -> None:
    batcher._last_pass = last_pass
    with batcher.expecting():
        futures = [callers.submit(batcher, views(n), model.forward) for n in range(3)]
        assert [future.result(5).logits[1] for future in futures] == [0, 1, 2]


def test_before_a_pass_was_timed_nothing_waits(batcher: Batcher, model: Model) -> None:
    with batcher.expecting():
        assert batcher.infer(views(1), model.forward, deadline_at=FAR).logits[1] == 1


def test_what_cannot_be_decoded_is_waited_for_no_more(
    patient: Batcher, model: Model, callers: Callers
) -> None:
    with pytest.raises(ValueError, match="no image"), patient.expecting():
        first = callers.submit(patient, views(1), model.forward)
        raise ValueError("no image")
    assert first.result(5).logits[1] == 1


def test_what_is_spare_waits_for_nothing(patient: Batcher, model: Model) -> None:
    with patient.expecting():
        answer = patient.infer(views(1), model.forward, deadline_at=FAR, spare=True)
    assert answer.logits[1] == 1


def test_closing_waits_for_no_decoding(patient: Batcher, model: Model, callers: Callers) -> None:
    with patient.expecting():
        first = callers.submit(patient, views(1), model.forward)
        patient.close()
        assert first.result(5).logits[1] == 1


def test_passes_that_are_free_share_what_waits(
    model: Model, callers: Callers, patience: None
) -> None:
    batcher = Batcher(max_batch=8, passes=2)
    batcher._last_pass = 4000
    with batcher.expecting():
        futures = [callers.submit(batcher, views(n), model.forward) for n in range(4)]
    futures.append(callers.submit(batcher, views(4), model.forward))
    wait(futures, 5)
    batcher.close()
    assert sorted(model.batches) == [[0, 1, 2], [3, 4]]


def test_closing_answers_what_was_submitted_to_every_pass(model: Model, callers: Callers) -> None:
    batcher = Batcher(max_batch=1, passes=3)
    futures = [callers.submit(batcher, views(v), model.forward) for v in range(20)]
    batcher.close()
    assert [future.result(5).logits[1] for future in futures] == list(range(20))


def test_a_pass_that_is_stuck_is_seen_while_others_work(model: Model, callers: Callers) -> None:
    batcher = Batcher(max_batch=1, passes=2)
    stuck = Model()
    stuck.hold()
    held = callers.submit(batcher, views(1), stuck.forward)
    assert stuck.entered.wait(10)
    time.sleep(0.02)
    batcher.infer(views(2), model.forward, deadline_at=FAR)
    assert batcher.busy_s() >= 0.02
    stuck.gate.set()
    held.result(10)
    batcher.close()


def test_a_blamed_image_leaves_its_pass_free(
    batcher: Batcher, model: Model, callers: Callers
) -> None:
    model.refused = {1}
    assert callers.submit(batcher, views(1), model.forward).exception(10)
    batcher.infer(views(2), model.forward, deadline_at=FAR)
    batcher.close()
    assert batcher.busy_s() == 0


def test_nobody_waits_for_ever_when_a_pass_ends_in_an_unforeseen_way(
    model: Model, callers: Callers
) -> None:
    def observe(size: int) -> None:
        if size > 1:
            raise MemoryError

    batcher = Batcher(max_batch=4, observe=observe)
    model.hold()
    first = callers.submit(batcher, views(0), model.forward)
    rest = [callers.submit(batcher, views(n), model.forward) for n in (1, 2)]
    model.gate.set()

    assert first.result(5).logits[1] == 0
    assert {type(future.exception(5)) for future in rest} == {MemoryError, InferenceFailed}
    assert batcher.infer(views(3), model.forward, deadline_at=FAR).logits[1] == 3
