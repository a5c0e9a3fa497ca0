from __future__ import annotations

import asyncio
import json

from redis.exceptions import ConnectionError as RedisConnectionError

from shared.contract import Failure
from shared.errors import CorruptImage
from tests.fakes_api import PREDICTION, image_bytes, outcome


def told(response) -> list[tuple[str, dict]]:
    """(event, data) of each event of a stream."""
    assert response.headers["content-type"].startswith("text/event-stream")
    events = []
    for block in response.text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if line[0] != ":")
        if fields:
            events.append((fields["event"], json.loads(fields["data"])))
    return events


async def accepted(client, count: int) -> tuple[list[str], str]:
    files = [("files", (f"{n}.jpg", image_bytes(size=(8 + n, 8)))) for n in range(count)]
    body = (await client.post("/upload_images", files=files)).json()
    return [entry["task_id"] for entry in body["tasks"]], body["events_url"]


async def test_each_task_is_told_when_it_ends(app, client, worker, monkeypatch):
    looked_at, task = set(), app.state.service.task

    async def looking(task_id: str) -> object:
        found = await task(task_id)
        looked_at.add(task_id)
        return found

    monkeypatch.setattr(app.state.service, "task", looking)
    (first, second), url = await accepted(client, 2)
    await worker.finish(outcome(second, failure=Failure.of(CorruptImage())))
    stream = asyncio.create_task(client.get(url))
    async with asyncio.timeout(30):
        while second not in looked_at:  # it comes after `first`, which had not ended then
            await asyncio.sleep(0)
    await worker.finish(outcome(first))

    failed, done, end = told(await stream)
    assert failed[0] == done[0] == "task"
    assert (failed[1]["task_id"], failed[1]["error"]["code"]) == (second, "corrupt_image")
    assert (done[1]["task_id"], done[1]["result"]) == (first, PREDICTION.encode())
    assert end == ("end", {"tasks": 2})


async def test_an_unknown_task_is_told_and_holds_up_nothing(client):
    assert told(await client.get("/events?ids=abc")) == [
        ("unknown", {"task_id": "abc"}),
        ("end", {"tasks": 1}),
    ]


async def test_a_stream_that_was_cut_has_no_end(client, app, monkeypatch):
    async def away(_task_id: str) -> None:
        raise RedisConnectionError("away")

    monkeypatch.setattr(app.state.service, "task", away)
    response = await client.get("/events?ids=abc")
    assert (response.status_code, response.text) == (200, "")


async def test_ids_are_bounded(client):
    response = await client.get(f"/events?ids={','.join(map(str, range(5)))}")
    assert (response.status_code, response.json()["code"]) == (422, "invalid_request")


async def test_a_batch_of_refused_files_has_no_events(client):
    body = (await client.post("/upload_images", files=[("files", ("a.txt", b"text"))])).json()
    assert body["events_url"] is None
