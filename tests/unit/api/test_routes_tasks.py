from __future__ import annotations

import asyncio
import time
import uuid

import pytest

from shared.contract import Explanation, Failure, Ruling
from shared.errors import CorruptImage
from shared.records import heatmap_key, task_key
from tests.fakes_api import PREDICTION, outcome

UNKNOWN = uuid.uuid4().hex


@pytest.fixture
async def task_id(upload):
    return (await upload(url="/upload_image?wait=false")).json()["task_id"]


async def test_a_queued_task(client, task_id):
    response = await client.get(f"/tasks/{task_id}")
    assert response.status_code == 200
    assert response.json() == {
        "task_id": task_id,
        "status": "queued",
        "result": None,
        "error": None,
        "verdict": None,
        "bound": None,
        "reason": None,
        "explanation": None,
        "model": None,
        "timings_ms": {},
    }


async def test_a_running_task(client, redis, task_id):
    await redis.hset(task_key(task_id), "started_at", time.time())
    assert (await client.get(f"/tasks/{task_id}")).json()["status"] == "running"


async def test_a_finished_task(client, worker, task_id):
    await worker.finish(outcome(task_id))
    assert (await client.get(f"/tasks/{task_id}")).json() == {
        "task_id": task_id,
        "status": "done",
        "result": PREDICTION.encode(),
        "error": None,
        "verdict": None,
        "bound": None,
        "reason": None,
        "explanation": None,
        "model": "scratch-lite@1a2b",
        "timings_ms": {"forward": 9.5},
    }


async def test_a_failed_task_is_no_failed_request(client, worker, task_id):
    failure = Failure.of(CorruptImage())
    await worker.finish(outcome(task_id, failure=failure))
    response = await client.get(f"/tasks/{task_id}")
    assert response.status_code == 200
    assert response.json()["status"] == "failed"
    assert response.json()["error"] == failure.encode()


@pytest.mark.parametrize(("late_s", "status"), [(60, "failed"), (1, "queued")])
async def test_a_task_past_its_deadline(client, redis, task_id, late_s, status):
    await redis.hset(task_key(task_id), "deadline_at", time.time() - late_s)
    view = (await client.get(f"/tasks/{task_id}")).json()
    assert view["status"] == status
    assert (view["error"] or {}).get("code") == ("task_timed_out" if late_s > 15 else None)


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("task_id", [UNKNOWN, UNKNOWN.upper(), "1", "x" * 32, UNKNOWN + "0"])
async def test_unknown_tasks(client, method, task_id):
    response = await client.request(method, f"/tasks/{task_id}")
    assert response.status_code == 404
    assert response.json()["code"] == "task_not_found"


async def test_an_impossible_id_does_not_reach_redis(client, redis, monkeypatch):
    monkeypatch.setattr(redis, "pipeline", lambda **_: pytest.fail("Redis was asked"))
    assert (await client.get("/tasks/nothing")).status_code == 404


async def test_long_poll_ends_with_the_task(client, worker, task_id):
    poll = asyncio.create_task(client.get(f"/tasks/{task_id}?wait=5"))
    await asyncio.sleep(0.02)
    assert not poll.done()
    await worker.finish(outcome(task_id))
    assert (await poll).json()["status"] == "done"


async def test_long_poll_of_a_finished_task_answers_at_once(client, worker, task_id):
    await worker.finish(outcome(task_id))
    began = time.monotonic()
    assert (await client.get(f"/tasks/{task_id}?wait=30")).json()["status"] == "done"
    assert time.monotonic() - began < 20


async def test_long_poll_ends_with_its_time(client, task_id):
    assert (await client.get(f"/tasks/{task_id}?wait=0.05")).json()["status"] == "queued"


async def test_long_poll_with_a_bad_wait(client, task_id):
    response = await client.get(f"/tasks/{task_id}?wait=never")
    assert (response.status_code, response.json()["code"]) == (422, "invalid_request")


async def test_cancelling_what_has_not_started(client, task_id):
    for _ in range(2):
        response = await client.delete(f"/tasks/{task_id}")
        assert response.status_code == 200
        assert response.json()["status"] == "failed"
        assert response.json()["error"]["code"] == "task_cancelled"
    assert (await client.get(f"/tasks/{task_id}")).json()["error"]["code"] == "task_cancelled"


async def test_a_started_task_goes_on(client, redis, task_id):
    await redis.hset(task_key(task_id), "started_at", time.time())
    response = await client.delete(f"/tasks/{task_id}")
    assert (response.status_code, response.json()["code"]) == (409, "task_not_cancellable")
    assert (await client.get(f"/tasks/{task_id}")).json()["status"] == "running"


async def test_a_finished_task_cannot_be_cancelled(client, worker, task_id):
    await worker.finish(outcome(task_id))
    assert (await client.delete(f"/tasks/{task_id}")).status_code == 409


async def test_where_the_evidence_lies(client, redis, worker, upload, sender):
    task_id = (await upload(url="/upload_image?wait=false&explain=true")).json()["task_id"]
    assert sender.jobs[-1].explain
    explanation = Explanation(hottest=(0.25, 0.75), box=(0.2, 0.7, 0.3, 0.8))
    await redis.set(heatmap_key(task_id), b"png")
    await worker.finish(outcome(task_id).model_copy(update={"explanation": explanation}))

    view = (await client.get(f"/tasks/{task_id}")).json()["explanation"]
    assert view == {**explanation.encode(), "heatmap_url": f"/tasks/{task_id}/heatmap.png"}
    heatmap = await client.get(view["heatmap_url"])
    assert (heatmap.content, heatmap.headers["content-type"]) == (b"png", "image/png")


async def test_the_verdict_is_shown_with_what_it_promises(client, worker, sender, task_id):
    assert sender.jobs[-1].ruling  # this api understands one
    said = {"verdict": "review", "bound": "missed scratches at most 1 %", "reason": "unlike"}
    ruling = Ruling.model_validate(said)
    await worker.finish(outcome(task_id).model_copy(update={"ruling": ruling}))

    view = (await client.get(f"/tasks/{task_id}")).json()
    assert view.items() >= said.items()
    assert view["result"].keys() == {"pred", "prob_no_scratches", "prob_scratches"}


async def test_a_worker_of_before_gives_no_verdict(client, worker, task_id):
    await worker.finish(outcome(task_id))
    view = (await client.get(f"/tasks/{task_id}")).json()
    assert view["status"] == "done"
    assert view["verdict"] is view["bound"] is view["reason"] is None


async def test_nobody_asked_where_the_evidence_lies(client, sender, task_id):
    assert not sender.jobs[-1].explain
    response = await client.get(f"/tasks/{task_id}/heatmap.png")
    assert (response.status_code, response.json()["code"]) == (404, "heatmap_not_found")
