"""What people say of answers, over HTTP; the history is real, Redis and worker are fakes."""

from __future__ import annotations

import asyncio

import fakeredis
import httpx
import pytest
from limits.aio.storage import MemoryStorage
from redis.exceptions import ConnectionError as RedisConnectionError

import scratch
from api.fairness import RateLimiter
from shared.contract import Failure
from shared.history.store import HistoryStore
from shared.keys import add_key
from shared.records import result_key, task_key
from shared.trials import TrialStore
from tests.fakes_history import answered, keep, photo, say

UNKNOWN = "f" * 32


@pytest.fixture
def history(settings):
    store = HistoryStore(settings)
    yield store
    store.close()


@pytest.fixture
async def task_id(upload, answering):
    answering()
    return (await upload()).headers["x-task-id"]


def labels(redis):
    """As `scratch ab report` reads them."""
    server = redis.connection_pool.connection_kwargs["server"]
    return TrialStore(fakeredis.FakeRedis(server=server)).read("t").labels


@pytest.mark.parametrize(
    ("said", "label"),
    [("right", "scratches"), ("wrong", "no_scratches"), ("scratches", "scratches"),
     ("no_scratches", "no_scratches")],
)  # fmt: skip
async def test_a_word_is_kept_for_good_and_for_the_trial(
    client, redis, history, task_id, said, label
):
    response = await client.post(f"/tasks/{task_id}/feedback", json={"label": said, "note": "n"})

    assert response.status_code == 200
    assert response.json() == {
        "task_id": task_id, "label": label, "pred": "scratches", "image_kept": False,
    }  # fmt: skip
    (word,) = history.words(task_id)
    assert (word.label, word.note, word.pred, word.sha256) == (label, "n", "scratches", "00")
    assert (word.key_name, word.source) == ("", "api")
    assert labels(redis) == {task_id: label}


async def test_our_client_says_it(app, history, task_id):
    async with scratch.AsyncClient("http://api", transport=httpx.ASGITransport(app)) as client:
        noted = await client.feedback(task_id, "wrong", note="n")

    assert noted == scratch.Feedback(task_id, "no_scratches", "scratches", image_kept=False)
    assert [word.note for word in history.words(task_id)] == ["n"]


async def test_the_last_word_counts_and_can_be_taken_back(client, redis, history, task_id):
    url = f"/tasks/{task_id}/feedback"
    await client.post(url, json={"label": "wrong"})
    await client.post(url, json={"label": "right"})
    assert labels(redis) == {task_id: "scratches"}

    response = await client.delete(url)

    assert response.status_code == 200 and response.json()["label"] is None
    assert [word.label for word in history.words(task_id)] == ["no_scratches", "scratches", None]
    assert labels(redis) == {}
    metrics = (await client.get("/metrics")).text
    for said in ("right", "wrong", "taken_back"):
        assert f'scratch_feedback_total{{said="{said}"}} 1.0' in metrics


async def test_the_history_knows_tasks_that_redis_has_forgotten(client, redis, history):
    kept = answered(7, pred="no_scratches")
    await asyncio.to_thread(keep, history, kept)

    response = await client.post(f"/tasks/{kept.task_id}/feedback", json={"label": "wrong"})

    assert response.json() == {
        "task_id": kept.task_id, "label": "scratches", "pred": "no_scratches", "image_kept": True,
    }  # fmt: skip


async def test_an_unknown_task_is_404(client):
    for response in (
        await client.post(f"/tasks/{UNKNOWN}/feedback", json={"label": "right"}),
        await client.delete(f"/tasks/{UNKNOWN}/feedback"),
        await client.post("/tasks/nonsense/feedback", json={"label": "right"}),
    ):
        assert response.status_code == 404
        assert response.json()["code"] == "task_not_found"


async def test_what_has_no_answer_cannot_be_right(client, upload, answering, redis):
    queued = (await upload(url="/upload_image?wait=false")).json()["task_id"]
    answering(Failure(code="corrupt_image", message="no"))
    failed = (await upload(url="/upload_image?wait=false")).json()["task_id"]
    for task_id in (queued, failed):
        response = await client.post(f"/tasks/{task_id}/feedback", json={"label": "right"})
        assert (response.status_code, response.json()["code"]) == (409, "no_answer")
    await redis.delete(result_key(failed), task_key(failed))


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b'{"label": "maybe"}', "application/json"),
        (b'{"label": "right", "more": 1}', "application/json"),
        (b'{"label": "right", "note": "%s"}' % (b"x" * 1001), "application/json"),
        (b'{"label": "right", "note": "\\u0000"}', "application/json"),
        (b'{"label": "right", "note": "\\ud800"}', "application/json"),
        (b"", "application/json"),
        (b"\xff\xfe", "application/json"),
        (b'{"label": "right"}', "text/plain"),
    ],
)
async def test_what_is_no_feedback_is_refused(client, history, task_id, content, kind):
    response = await client.post(
        f"/tasks/{task_id}/feedback", content=content, headers={"Content-Type": kind}
    )

    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert history.words(task_id) == []


async def test_a_body_without_end_is_cut_off(client, task_id):
    async def endless():
        while True:
            yield b" " * 65536

    response = await client.post(
        f"/tasks/{task_id}/feedback",
        content=endless(),
        headers={"Content-Type": "application/json"},
    )
    assert response.status_code == 413


async def test_a_history_that_is_away_is_503(client, settings, task_id):
    (settings.data_dir / "history.db").mkdir()

    response = await client.post(f"/tasks/{task_id}/feedback", json={"label": "right"})

    assert (response.status_code, response.json()["code"]) == (503, "history_unavailable")
    assert response.headers["retry-after"]


async def test_a_trial_that_cannot_be_told_costs_no_word(
    client, app, history, task_id, monkeypatch
):
    def away(*_, **__):
        raise RedisConnectionError("away")

    monkeypatch.setattr(app.state.feedback._redis, "pipeline", away)
    await asyncio.to_thread(keep, history, answered(7))
    task_id = answered(7).task_id

    response = await client.post(f"/tasks/{task_id}/feedback", json={"label": "right"})

    assert response.status_code == 200
    assert len(history.words(task_id)) == 1


async def test_the_photo_as_it_came(client, history):
    await asyncio.to_thread(keep, history, answered(7))
    response = await client.get(f"/tasks/{answered(7).task_id}/image")

    assert response.content == photo(7)
    assert response.headers["content-type"] == "image/jpeg"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["content-security-policy"].startswith("default-src 'none'")
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["content-disposition"] == "inline"


@pytest.mark.parametrize("image", [b"<svg onload=alert(1)>", b"II*\0tiff", b"<html>"])
async def test_what_no_browser_should_show_is_a_download(client, history, image):
    await asyncio.to_thread(history.keep, [(answered(7), image)])
    response = await client.get(f"/tasks/{answered(7).task_id}/image")

    assert response.headers["content-type"] == "application/octet-stream"
    assert response.headers["content-disposition"] == "attachment"


async def test_a_photo_that_is_not_kept_is_404(client, history, task_id):
    await asyncio.to_thread(keep, history, answered(7))
    kept = history.find(answered(7).task_id)
    history.files.delete(kept.file_key)
    for missing in (task_id, answered(7).task_id, UNKNOWN):
        response = await client.get(f"/tasks/{missing}/image")
        assert (response.status_code, response.json()["code"]) == (404, "image_not_kept")


async def test_the_queue_to_be_labelled(client, history):
    def fill():
        keep(history, answered(1, prob_scratches=0.9), answered(2, prob_scratches=0.6))
        keep(history, answered(3), answered(4, prob_scratches=0.99))
        say(history, answered(3), "scratches")

    await asyncio.to_thread(fill)
    body = (await client.get("/labelling?limit=2")).json()

    assert body["unlabelled"] == 3 and body["history_days"] == 0
    assert [image["task_id"] for image in body["images"]] == [
        answered(2).task_id, answered(1).task_id
    ]  # fmt: skip
    assert body["images"][0]["image_url"] == f"/tasks/{answered(2).task_id}/image"
    assert (await client.get("/labelling?limit=999")).status_code == 422


@pytest.mark.parametrize(
    ("reviewers", "status"), [("", 403), ("ben", 403), ("ben, anna", 200), ("*", 200)]
)
async def test_only_reviewers_look_through_others_photos(
    app, client, settings, history, reviewers, status
):
    key = add_key(settings.keys_file, "anna")
    app.state.settings = settings.model_copy(update={"reviewers": reviewers})
    await asyncio.to_thread(keep, history, answered(7))
    headers = {"X-API-Key": key}

    response = await client.get("/labelling", headers=headers)
    assert response.status_code == status
    if status == 403:
        assert response.json()["code"] == "not_a_reviewer"
    assert (await client.get("/labelling")).status_code == 401

    url = f"/tasks/{answered(7).task_id}"
    await client.post(f"{url}/feedback", json={"label": "right"}, headers=headers)
    assert [word.key_name for word in history.words(answered(7).task_id)] == ["anna"]
    assert (await client.get(f"{url}/image")).status_code == 401


async def test_feedback_counts_as_an_upload(client, app, task_id):
    app.state.limiter = RateLimiter("1/hour", MemoryStorage())
    url = f"/tasks/{task_id}/feedback"
    answers = [await client.post(url, json={"label": "right"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]
