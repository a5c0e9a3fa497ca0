"""Uploads, records and workers in Redis, both sides on one fake server."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fakeredis import FakeAsyncRedis, FakeRedis, FakeServer
from redis.asyncio.client import Pipeline

from shared.contract import (
    QUEUE_INSPECT,
    Failure,
    InspectJob,
    Outcome,
    Prediction,
    TaskStatus,
)
from shared.intake import Intake
from shared.records import (
    OPEN_KEY,
    SENT_KEY,
    WORKER_FORGOTTEN_S,
    WORKER_SILENT_S,
    WORKERS_KEY,
    Heartbeat,
    final_meta,
    read_result,
    ready,
    result_key,
    task_key,
    upload_key,
)
from shared.worklist import Worklist, store_answer
from tests.heartbeats import beat

JOB = InspectJob(id="one", sha256="00", size=3, accepted_at=1000.0, deadline_at=1300.0)
OUTCOME = Outcome(
    id="one",
    sha256="00",
    model="m@1",
    variant="fake/f32/cpu",
    prediction=Prediction(pred="scratches", prob_no_scratches=0.25, prob_scratches=0.75),
)
REFUSED = OUTCOME.model_copy(
    update={"prediction": None, "failure": Failure(code="corrupt_image", message="half")}
)


def _meta(status: str, result: object = None) -> bytes:
    return json.dumps({"status": status, "result": result, "task_id": "one"}).encode()


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


@pytest.fixture
def redis(server: FakeServer) -> FakeRedis:
    return FakeRedis(server=server)


@pytest.fixture
def intake(server: FakeServer) -> Intake:
    return Intake(FakeAsyncRedis(server=server), record_ttl_s=3900, result_ttl_s=3600)


@pytest.fixture
def worklist(redis: FakeRedis) -> Worklist:
    return Worklist(redis, record_ttl_s=3900)


async def test_an_accepted_task_is_known_and_queued(intake: Intake) -> None:
    await intake.accept(JOB, b"img")
    record = await intake.record("one")
    assert record is not None
    assert (record.status, record.accepted_at, record.deadline_at) == (
        TaskStatus.QUEUED,
        1000.0,
        1300.0,
    )
    assert (await intake.standing(now=1001.0)).open_tasks == 1


async def test_a_task_past_its_deadline_no_longer_counts(intake: Intake, redis: FakeRedis) -> None:
    await intake.accept(JOB, b"img")
    assert (await intake.standing(now=1299.0)).open_tasks == 1
    assert (await intake.standing(now=1301.0)).open_tasks == 0


async def test_open_ids_are_forgotten_with_their_records(intake: Intake, redis: FakeRedis) -> None:
    await intake.accept(JOB, b"img")
    later = JOB.model_copy(update={"id": "two", "accepted_at": 5500.0, "deadline_at": 5800.0})
    await intake.accept(later, b"img")
    assert redis.zrange(OPEN_KEY, 0, -1) == redis.zrange(SENT_KEY, 0, -1) == [b"two"]


async def test_whatever_is_stored_expires(intake: Intake, redis: FakeRedis) -> None:
    await intake.accept(JOB, b"img")
    assert 0 < redis.ttl(upload_key("one")) <= 301
    assert 0 < redis.ttl(task_key("one")) <= 3900


async def test_an_unknown_id_has_no_record(intake: Intake, worklist: Worklist) -> None:
    assert await intake.record("never") is None
    assert not worklist.claim(JOB.model_copy(update={"id": "never"})).open
    assert await intake.record("never") is None  # claiming does not make it known


async def test_a_result_under_an_unknown_id_is_not_ours(intake: Intake, redis: FakeRedis) -> None:
    redis.set(result_key("foreign"), _meta("SUCCESS", OUTCOME.encode()))
    assert await intake.record("foreign") is None


async def test_withdrawing_leaves_nothing(intake: Intake, redis: FakeRedis) -> None:
    await intake.accept(JOB, b"img")
    await intake.withdraw("one")
    assert redis.keys() == []


async def test_a_claim_hands_out_the_image_and_starts_the_task(
    intake: Intake, worklist: Worklist
) -> None:
    await intake.accept(JOB, b"img")
    claim = worklist.claim(JOB)
    assert (claim.open, claim.deliveries, claim.image) == (True, 1, b"img")
    record = await intake.record("one")
    assert record is not None and record.status is TaskStatus.RUNNING


async def test_deliveries_are_counted_and_the_image_stays(intake: Intake, redis: FakeRedis) -> None:
    await intake.accept(JOB, b"img")
    claims = [Worklist(redis, record_ttl_s=9).claim(JOB) for _ in range(3)]
    assert [claim.deliveries for claim in claims] == [1, 2, 3]
    assert claims[-1].image == b"img"


async def test_a_process_that_tries_again_has_not_died_of_the_image(
    intake: Intake, worklist: Worklist
) -> None:
    await intake.accept(JOB, b"img")
    assert [worklist.claim(JOB).deliveries for _ in range(3)] == [1, 1, 1]


async def test_what_is_released_is_not_counted(
    intake: Intake, worklist: Worklist, redis: FakeRedis
) -> None:
    await intake.accept(JOB, b"img")
    worklist.claim(JOB)
    worklist.release("one")
    assert Worklist(redis, record_ttl_s=9).claim(JOB).deliveries == 1


async def test_an_expired_upload_is_seen_as_lost(
    intake: Intake, worklist: Worklist, redis: FakeRedis
) -> None:
    await intake.accept(JOB, b"img")
    redis.delete(upload_key("one"))
    claim = worklist.claim(JOB)
    assert claim.open and claim.image is None


@pytest.mark.parametrize(
    ("outcome", "status"), [(OUTCOME, TaskStatus.DONE), (REFUSED, TaskStatus.FAILED)]
)
async def test_a_finished_task_shows_its_outcome(
    outcome: Outcome,
    status: TaskStatus,
    intake: Intake,
    worklist: Worklist,
    redis: FakeRedis,
) -> None:
    # Given a task that a worker took up
    await intake.accept(JOB, b"img")
    worklist.claim(JOB)
    # When its result is stored
    assert store_answer(redis, "one", final_meta(outcome), ttl_s=3600)
    # Then the record shows it, and the upload is gone
    record = await intake.record("one")
    assert record is not None
    assert (record.status, record.result) == (status, outcome)
    assert redis.get(upload_key("one")) is None
    assert (await intake.standing(now=1001.0)).open_tasks == 0


async def test_a_finished_task_is_unknown_once_its_result_has_expired(
    intake: Intake, redis: FakeRedis
) -> None:
    await intake.accept(JOB, b"img")
    store_answer(redis, "one", final_meta(OUTCOME), ttl_s=3600)
    redis.delete(result_key("one"))
    assert await intake.record("one") is None


async def test_the_first_answer_stays_and_alone_is_told(intake: Intake, redis: FakeRedis) -> None:
    await intake.accept(JOB, b"img")
    heard = redis.pubsub(ignore_subscribe_messages=True)
    heard.subscribe(result_key("one"))
    assert store_answer(redis, "one", final_meta(OUTCOME), ttl_s=3600)
    assert not store_answer(redis, "one", final_meta(REFUSED), ttl_s=3600)
    record = await intake.record("one")
    assert record is not None and record.result == OUTCOME
    messages = [heard.get_message() for _ in range(4)]
    assert len([message for message in messages if message]) == 1


async def test_an_answer_that_is_stored_again_by_a_retry_is_still_the_first(
    intake: Intake, redis: FakeRedis
) -> None:
    await intake.accept(JOB, b"img")
    meta = final_meta(OUTCOME)
    assert store_answer(redis, "one", meta, ttl_s=3600)
    assert store_answer(redis, "one", meta, ttl_s=3600)


async def test_an_upload_that_is_stored_again_by_a_retry_is_queued_once(
    server: FakeServer, redis: FakeRedis
) -> None:
    intake = Intake(
        FakeAsyncRedis(server=server),
        record_ttl_s=3900,
        result_ttl_s=3600,
        queue_entry=lambda job: job.id,
    )
    await intake.accept(JOB, b"img")
    await intake.accept(JOB, b"img")
    assert redis.lrange(QUEUE_INSPECT, 0, -1) == [b"one"]
    # Not even when its answer came in between
    store_answer(redis, "one", final_meta(OUTCOME), ttl_s=3600)
    await intake.accept(JOB, b"img")
    assert not redis.exists(upload_key("one"), OPEN_KEY, SENT_KEY)


async def test_nothing_is_accepted_without_its_image(
    intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a Redis that has no room for the image, but for what comes after it
    monkeypatch.setattr(Pipeline, "set", lambda *_arguments, **_options: None)
    await intake.accept(JOB, b"img")
    assert await intake.record("one") is None


async def test_a_claim_on_an_unknown_task_leaves_no_record(
    worklist: Worklist, redis: FakeRedis
) -> None:
    assert not worklist.claim(JOB).open
    assert not redis.exists(task_key("one"))


async def test_a_key_whose_upload_was_taken_back_is_free_again(
    intake: Intake, redis: FakeRedis
) -> None:
    await intake.accept(JOB, b"img", once="key")
    await intake.withdraw("one")
    redis.hset(task_key("one"), "finished_at", 1.0)  # a worker had been quicker
    again = JOB.model_copy(update={"id": "two"})
    assert await intake.accept(again, b"img", once="key") is None
    earlier = await intake.accept(JOB.model_copy(update={"id": "three"}), b"img", once="key")
    assert earlier is not None and earlier.task_id == "two"


async def test_a_second_delivery_after_the_end_does_not_reopen_the_task(
    intake: Intake, worklist: Worklist, redis: FakeRedis
) -> None:
    await intake.accept(JOB, b"img")
    store_answer(redis, "one", final_meta(OUTCOME), ttl_s=3600)
    assert not worklist.claim(JOB).open
    record = await intake.record("one")
    assert record is not None and record.status is TaskStatus.DONE


async def test_a_waiting_task_can_be_cancelled(
    intake: Intake, worklist: Worklist, redis: FakeRedis
) -> None:
    await intake.accept(JOB, b"img")
    assert await intake.cancel("one")
    record = await intake.record("one")
    assert record is not None and record.failure and record.failure.code == "task_cancelled"
    assert not worklist.claim(JOB).open
    assert (await intake.standing(now=1001.0)).open_tasks == 0
    assert redis.get(upload_key("one")) is None


async def test_what_is_cancelled_cannot_be_cancelled_again(intake: Intake) -> None:
    await intake.accept(JOB, b"img")
    assert await intake.cancel("one")
    assert not await intake.cancel("one")


async def test_giving_up_is_an_answer_that_stays(intake: Intake, redis: FakeRedis) -> None:
    await intake.accept(JOB, b"img")
    assert await intake.give_up("one")
    assert not store_answer(redis, "one", final_meta(OUTCOME), ttl_s=9)
    record = await intake.record("one")
    assert record is not None and record.failure and record.failure.code == "task_timed_out"


async def test_a_started_task_cannot_be_cancelled(intake: Intake, worklist: Worklist) -> None:
    await intake.accept(JOB, b"img")
    worklist.claim(JOB)
    assert not await intake.cancel("one")
    claim = worklist.claim(JOB)
    assert claim.open and claim.image == b"img"


async def test_a_finished_task_cannot_be_cancelled(intake: Intake, redis: FakeRedis) -> None:
    await intake.accept(JOB, b"img")
    store_answer(redis, "one", final_meta(OUTCOME), ttl_s=9)
    assert not await intake.cancel("one")


async def test_an_unknown_task_cannot_be_cancelled(intake: Intake, redis: FakeRedis) -> None:
    assert not await intake.cancel("never")
    assert redis.keys() == []


async def test_a_worker_that_claims_during_a_cancel_wins(
    server: FakeServer, worklist: Worklist
) -> None:
    # Given a connection on which a worker's claim slips in after the cancel has looked
    class Raced(FakeAsyncRedis):
        def pipeline(self, *args: Any, **kwargs: Any) -> Any:
            pipe: Any = super().pipeline(*args, **kwargs)
            look = pipe.hmget

            async def hmget(*names: str) -> Any:
                found = await look(*names)
                worklist.claim(JOB)
                return found

            pipe.hmget = hmget
            return pipe

    await Intake(FakeAsyncRedis(server=server), record_ttl_s=9, result_ttl_s=5).accept(JOB, b"img")
    # When it cancels, then the worker keeps its task
    assert not await Intake(Raced(server=server), record_ttl_s=9, result_ttl_s=5).cancel("one")
    claim = worklist.claim(JOB)
    assert claim.open and claim.image == b"img"


@pytest.mark.parametrize("status", ["PENDING", "STARTED", "RETRY", "RECEIVED", None, 7, []])
def test_what_is_not_final_is_no_result(status: Any) -> None:
    assert read_result(_meta(status)) is None


@pytest.mark.parametrize("meta", [None, b"", ""])
def test_nothing_stored_is_no_result(meta: bytes | str | None) -> None:
    assert read_result(meta) is None


def test_success_is_an_outcome_from_bytes_or_text() -> None:
    assert read_result(_meta("SUCCESS", OUTCOME.encode())) == OUTCOME
    assert read_result(_meta("SUCCESS", OUTCOME.encode()).decode()) == OUTCOME


@pytest.mark.parametrize(
    ("meta", "code"),
    [
        (_meta("SUCCESS", None), "bad_message"),
        (_meta("SUCCESS", "done"), "bad_message"),
        (_meta("SUCCESS", OUTCOME.encode() | {"version": 2}), "bad_message"),
        (_meta("FAILURE", {"exc_type": "OSError", "exc_message": ["x"]}), "internal_error"),
        (_meta("FAILURE", {"exc_type": "eval", "exc_module": "builtins"}), "internal_error"),
        (_meta("FAILURE", "text"), "internal_error"),
        (_meta("REVOKED", None), "task_cancelled"),
        (b"not json", "bad_message"),
        (b"\xff\xfe", "bad_message"),
        (b"[1, 2]", "bad_message"),
        (b"7", "bad_message"),
        (b"null", "bad_message"),
    ],
)
def test_anything_else_is_a_failure_and_never_an_exception(meta: bytes, code: str) -> None:
    found = read_result(meta)
    assert isinstance(found, Failure) and found.code == code


async def test_a_beating_worker_is_ready_until_it_leaves(
    intake: Intake, worklist: Worklist
) -> None:
    assert await intake.ready_workers() == []
    worklist.beat("w1", model="m@1", variant="torch/f32/cpu", pid=7)
    (beat,) = await intake.ready_workers()
    assert (beat.name, beat.model, beat.variant, beat.pid) == ("w1", "m@1", "torch/f32/cpu", 7)
    worklist.leave("w1")
    assert await intake.ready_workers() == []


def test_a_silent_worker_is_not_ready() -> None:
    ages = {"silent": WORKER_SILENT_S, "slow": WORKER_SILENT_S - 0.1}
    beats = [
        Heartbeat(name=name, model="m", variant="v", pid=1, beat_at=1000.5 - age)
        for name, age in ages.items()
    ]
    found = ready((1000, 500_000), [beat.model_dump_json().encode() for beat in beats])
    assert [beat.name for beat in found] == ["slow"]


def test_a_worker_silent_for_long_is_forgotten(worklist: Worklist, redis: FakeRedis) -> None:
    beat(redis, "gone", age_s=WORKER_FORGOTTEN_S + 1)
    beat(redis, "silent", age_s=WORKER_SILENT_S + 1)
    worklist.beat("w1", model="m", variant="v", pid=1)
    assert set(redis.hkeys(WORKERS_KEY)) == {b"silent", b"w1"}


@pytest.mark.parametrize("foreign", [b"{}", b"not json", b'{"name": "w0", "beat_at": 1}'])
async def test_a_heartbeat_of_another_version_harms_nobody(
    foreign: bytes, intake: Intake, worklist: Worklist, redis: FakeRedis
) -> None:
    redis.hset(WORKERS_KEY, "other", foreign)
    worklist.beat("w1", model="m", variant="v", pid=1)
    assert [beat.name for beat in await intake.ready_workers()] == ["w1"]


async def test_open_tasks_are_kept_by_their_deadlines(intake: Intake, redis: FakeRedis) -> None:
    await intake.accept(JOB, b"img")
    await intake.accept(JOB.model_copy(update={"id": "two", "deadline_at": 1200.0}), b"img")
    assert redis.zrange(OPEN_KEY, 0, -1) == [b"two", b"one"]
