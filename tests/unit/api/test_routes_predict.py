from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator

import httpx
import pytest

from shared.contract import Failure
from shared.errors import CorruptImage, InferenceFailed, PoisonImage, TaskCancelled, TaskTimedOut
from shared.records import OPEN_KEY, upload_key
from tests.fakes_api import PREDICTION, image_bytes, outcome

ASYNC = {"Prefer": "respond-async"}

#: a deadline that no clock of these tests reaches
FAR = 1e10


def assert_problem(response: httpx.Response, status: int, code: str) -> dict[str, object]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["code"] == code
    assert problem["status"] == status
    assert problem["title"] and problem["detail"] and problem["type"] == "about:blank"
    return problem


async def test_waits_and_answers_with_exactly_the_prediction(upload, answering, sender):
    answering()
    response = await upload()
    assert response.status_code == 200
    assert response.json() == PREDICTION.encode()
    assert list(response.json()) == ["pred", "prob_no_scratches", "prob_scratches"]
    assert response.headers["x-task-id"] == sender.jobs[0].id
    assert response.headers["x-model"] == "scratch-lite@1a2b"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["cache-control"] == "no-store"


async def test_a_model_name_that_no_header_can_hold(upload, answering):
    answering(model="kratzer\n→")
    response = await upload()
    assert response.status_code == 200
    assert response.headers["x-model"] == "kratzer??"


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "TIFF", "WEBP"])
async def test_other_formats_are_accepted(upload, answering, kind):
    answering()
    assert (await upload(image_bytes(kind))).status_code == 200


@pytest.mark.parametrize(
    ("query", "headers", "applied"),
    [
        ("?wait=false", {}, None),
        ("?wait=0", {}, None),
        ("?wait=0.05", {}, None),
        ("", ASYNC, "respond-async"),
        ("", {"Prefer": "return=minimal, respond-async;x"}, "respond-async"),
        ("", {"Prefer": "respond-async, wait=0"}, "respond-async, wait=0"),
        ("?wait=false", {"Prefer": "wait=5"}, None),
    ],
)
async def test_accepts_without_an_answer(upload, sender, query, headers, applied):
    response = await upload(url=f"/upload_image{query}", headers=headers)
    assert response.status_code == 202
    task_id = sender.jobs[0].id
    assert re.fullmatch("[0-9a-f]{32}", task_id)
    assert response.json() == {
        "task_id": task_id,
        "status": "queued",
        "status_url": f"/tasks/{task_id}",
        "position": 1,
        "eta_ms": None,
    }
    assert response.headers["location"] == f"/tasks/{task_id}"
    assert response.headers.get("preference-applied") == applied


async def test_respond_async_with_wait_still_answers_in_time(upload, answering):
    answering()
    response = await upload(headers={"Prefer": "respond-async, wait=5"})
    assert response.status_code == 200


@pytest.mark.parametrize("wait", ["soon", "-1", "nan", "inf", "-inf", "", "1e999"])
async def test_a_wait_that_means_nothing(upload, sender, wait):
    response = await upload(url=f"/upload_image?wait={wait}")
    assert "wait" in assert_problem(response, 422, "invalid_request")["detail"]
    assert not sender.jobs


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (Failure.of(CorruptImage()), 422),
        (Failure.of(InferenceFailed()), 500),
        (Failure.of(PoisonImage()), 500),
        (Failure.of(TaskTimedOut()), 504),
        (Failure.of(TaskCancelled()), 409),
    ],
)
async def test_a_recorded_failure_is_raised(upload, answering, sender, failure, status):
    answering(failure)
    response = await upload()
    problem = assert_problem(response, status, failure.code)
    assert problem["detail"] == failure.message
    assert problem["instance"] == f"/tasks/{sender.jobs[0].id}"
    assert response.headers["x-task-id"] == sender.jobs[0].id


async def test_a_code_of_another_version_is_an_internal_error(upload, answering):
    answering(Failure(code="from_the_future", message="?"))
    assert_problem(await upload(), 500, "internal_error")


@pytest.mark.parametrize(
    ("image", "status", "code"),
    [
        (b"", 400, "empty_upload"),
        (b"hello, I am text", 415, "unsupported_image"),
        (b"%PDF-1.7 etc", 415, "unsupported_image"),
        (image_bytes(size=(1001, 1000)), 422, "image_too_large"),
        (image_bytes("PNG", (2001, 1)), 422, "image_too_large"),
        (image_bytes("PNG")[:20], 422, "corrupt_image"),
        (b"x" * 20_001, 413, "upload_too_large"),
        (b"x" * 200_000, 413, "upload_too_large"),
    ],
)
async def test_refusals_that_need_no_worker(upload, sender, redis, image, status, code):
    assert_problem(await upload(image), status, code)
    assert not sender.jobs
    assert not await redis.keys("scratch:*")


async def test_a_full_queue_refuses_before_it_reads_the_body(client, redis, settings):
    await redis.zadd(
        OPEN_KEY, {str(number): FAR + number for number in range(settings.queue_limit)}
    )

    async def body() -> AsyncIterator[bytes]:
        pytest.fail("the body was read")
        yield b""

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    for url in ("/upload_image", "/upload_images"):
        response = await client.post(url, content=body(), headers=headers)
        assert_problem(response, 503, "queue_full")
        assert int(response.headers["retry-after"]) > 0


async def test_what_could_not_be_sent_is_withdrawn(upload, sender, redis):
    sender.fails = True
    response = await upload()
    assert_problem(response, 503, "broker_unavailable")
    assert response.headers["retry-after"]
    assert not await redis.keys("scratch:*")


async def test_many_files_get_an_entry_each_in_order(client, sender, redis):
    files = [
        ("files", ("a.jpg", image_bytes())),
        ("files", ("bad\x1b[31m.txt", b"text")),
        ("file", ("b.png", image_bytes("PNG"))),
        ("files", ("big.jpg", b"x" * 20_001)),
    ]
    response = await client.post("/upload_images", files=files)
    assert response.status_code == 202
    entries = response.json()["tasks"]
    assert [entry["index"] for entry in entries] == [0, 1, 2, 3]
    assert [entry.get("task_id") for entry in entries] == [
        sender.jobs[0].id,
        None,
        sender.jobs[1].id,
        None,
    ]
    assert entries[0]["status_url"] == f"/tasks/{sender.jobs[0].id}"
    assert entries[1]["problem"]["code"] == "unsupported_image"
    assert entries[1]["problem"]["status"] == 415
    assert "\x1b" not in json.loads(response.text)["tasks"][1]["filename"]
    assert entries[3]["problem"]["code"] == "upload_too_large"
    assert await redis.exists(upload_key(sender.jobs[1].id))


async def test_a_queue_that_fills_up_refuses_the_rest_of_a_batch(client, redis):
    await redis.zadd(OPEN_KEY, {str(number): FAR + number for number in range(3)})
    files = [("files", (f"{number}.jpg", image_bytes())) for number in range(4)]
    entries = (await client.post("/upload_images", files=files)).json()["tasks"]
    codes = [entry["problem"] and entry["problem"]["code"] for entry in entries]
    assert codes == [None, None, "queue_full", "queue_full"]


async def test_a_client_that_goes_leaves_nothing_behind(app, upload, sender):
    request = asyncio.create_task(upload())
    while not sender.jobs:
        await asyncio.sleep(0)
    assert app.state.service._results.waiting == 1
    request.cancel()
    await asyncio.gather(request, return_exceptions=True)
    assert app.state.service._results.waiting == 0


async def test_an_answer_that_comes_too_late_is_found_under_the_task(
    upload, client, sender, worker
):
    task_id = (await upload(url="/upload_image?wait=0.02")).json()["task_id"]
    await worker.finish(outcome(task_id))
    view = (await client.get(f"/tasks/{task_id}")).json()
    assert view["status"] == "done"
    assert view["result"] == PREDICTION.encode()


@pytest.mark.parametrize(("wait", "status"), [("false", 202), ("0", 202), ("5", 422), ("x", 422)])
async def test_a_batch_is_never_waited_for(client, wait, status):
    files = [("files", ("a.jpg", image_bytes()))]
    response = await client.post("/upload_images", params={"wait": wait}, files=files)
    assert response.status_code == status


async def test_an_idempotency_key_makes_sending_again_safe(upload, sender, answering):
    answering()
    headers = {"Idempotency-Key": "one of my own"}
    answers = [await upload(headers=headers) for _ in range(3)]
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.headers["x-task-id"] for answer in answers}) == len(sender.jobs) == 1

    other = await upload(image_bytes(size=(30, 20)), headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


async def test_a_batch_with_an_idempotency_key_may_be_sent_again(client, sender):
    files = [("files", ("a.jpg", image_bytes())), ("files", ("b.jpg", image_bytes()))]
    bodies = [
        (await client.post("/upload_images", files=files, headers={"Idempotency-Key": "k"})).json()
        for _ in range(2)
    ]
    assert bodies[0] == bodies[1]
    assert len(sender.jobs) == len({entry["task_id"] for entry in bodies[0]["tasks"]}) == 2


async def test_an_idempotency_key_has_a_bound(upload):
    response = await upload(headers={"Idempotency-Key": "k" * 256})
    assert (response.status_code, response.json()["code"]) == (422, "invalid_request")


async def test_a_202_says_when_its_turn_comes(upload, beating):
    await beating(per_s=2)
    bodies = [(await upload(url="/upload_image?wait=false")).json() for _ in range(3)]
    assert [(body["position"], body["eta_ms"]) for body in bodies] == [
        (1, 500), (2, 1000), (3, 1500)
    ]  # fmt: skip


async def test_a_deadline_that_cannot_be_met_is_refused_before_the_body(client, beating):
    await beating(per_s=0.1)

    async def never_read():
        pytest.fail("the body was read")
        yield b""

    response = await client.post("/upload_image?deadline=3", content=never_read())
    assert (response.status_code, response.json()["code"]) == (503, "deadline_unreachable")
    assert response.headers["retry-after"] == "7"


@pytest.mark.parametrize("deadline", ["0", "-1", "soon", "inf", "nan"])
async def test_a_deadline_must_be_seconds(upload, deadline):
    response = await upload(url=f"/upload_image?deadline={deadline}")
    assert (response.status_code, response.json()["code"]) == (422, "invalid_request")


async def test_a_client_is_the_same_to_every_trial_and_opaque(client, sender):
    for headers in ({"X-Client-Id": "me"}, {"X-Client-Id": "me"}, {"X-Client-Id": "you"}, {}):
        await client.post(
            "/upload_image?wait=false", files={"file": ("a.jpg", image_bytes())}, headers=headers
        )

    mine, again, yours, nobodys = (job.client for job in sender.jobs)
    assert mine == again != yours
    assert "me" not in mine
    assert nobodys == ""
