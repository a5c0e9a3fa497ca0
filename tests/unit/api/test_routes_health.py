from __future__ import annotations

import asyncio
import time

import httpx
import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from shared.contract import QUEUE_INSPECT
from shared.records import OPEN_KEY, SENT_KEY, WORKERS_KEY, Heartbeat, task_key


async def beat(redis, name="w1@host", age_s=0.0):
    seconds, micros = await redis.time()
    heartbeat = Heartbeat(
        name=name,
        model="m@1",
        variant="torch/f32/cpu",
        pid=1,
        beat_at=seconds + micros / 1e6 - age_s,
    )
    await redis.hset(WORKERS_KEY, name, heartbeat.model_dump_json())


async def test_healthz_needs_nobody(client):
    response = await client.get("/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


async def test_ready_with_a_worker(client, redis):
    await beat(redis)
    await beat(redis, "silent@host", age_s=60)
    await redis.hset(WORKERS_KEY, "other", b"of another version")
    response = await client.get("/readyz")
    assert response.status_code == 200
    assert response.json() == {
        "status": "ready",
        "workers": [
            {
                "name": "w1@host",
                "model": "m@1",
                "variant": "torch/f32/cpu",
                "challenger": None,
                "behind": None,
            }
        ],
    }


async def test_not_ready_without_a_worker(client):
    response = await client.get("/readyz")
    assert response.status_code == 503
    assert response.json()["code"] == "unavailable"
    assert "worker" in response.json()["detail"]


async def test_not_ready_without_redis(client, redis, monkeypatch):
    def away(**_: object) -> None:
        raise RedisConnectionError("away")

    monkeypatch.setattr(redis, "pipeline", away)
    response = await client.get("/readyz")
    assert (response.status_code, response.json()["code"]) == (503, "broker_unavailable")


async def test_a_black_hole_is_answered_for_in_time(client, redis, monkeypatch):
    async def hang(*_: object, **__: object) -> int:
        await asyncio.sleep(60)
        return 0

    monkeypatch.setattr("api.service._PROBE_S", 0.05)
    monkeypatch.setattr("shared.intake.Intake.ready_workers", hang)
    monkeypatch.setattr("shared.intake.Intake.backlog", hang)
    began = time.monotonic()
    assert (await client.get("/readyz")).status_code == 503
    metrics = (await client.get("/metrics")).text
    assert time.monotonic() - began < 10
    assert "scratch_open_tasks NaN" in metrics
    assert "scratch_redis_up 0.0" in metrics


async def test_metrics_count_by_template(client, redis, upload, answering):
    answering()
    await beat(redis)
    await upload()
    await upload(b"text")
    for path in ("/tasks/1", "/tasks/2", "/no/such/place"):
        await client.get(path)
    await client.request("BREW", "/healthz")
    response = await client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    lines = response.text.splitlines()

    def requests(route: str, method: str, status: int) -> str:
        labels = f'method="{method}",route="{route}",status="{status}"'
        return f"scratch_http_requests_total{{{labels}}}"

    assert requests("/upload_image", "POST", 200) + " 1.0" in lines
    assert requests("/upload_image", "POST", 415) + " 1.0" in lines
    assert requests("/tasks/{task_id}", "GET", 404) + " 2.0" in lines
    assert requests("unmatched", "GET", 404) + " 1.0" in lines
    assert any('method="other"' in line for line in lines)
    assert 'scratch_refusals_total{code="task_not_found"} 2.0' in lines
    assert 'scratch_refusals_total{code="unsupported_image"} 1.0' in lines
    assert "scratch_open_tasks 0.0" in lines
    assert "scratch_redis_up 1.0" in lines
    assert "scratch_http_requests_in_flight 1.0" in lines
    assert "scratch_ready_workers 1.0" in lines
    assert "scratch_waiting_clients 0.0" in lines
    assert "/no/such/place" not in response.text


async def test_metrics_tell_how_long_the_queue_is_and_how_old(client, redis):
    empty = (await client.get("/metrics")).text.splitlines()
    now = time.time()
    await redis.lpush(QUEUE_INSPECT, "a", "b", "c")
    for task_id, accepted_at in {"old": now - 120, "new": now - 1}.items():
        await redis.zadd(OPEN_KEY, {task_id: accepted_at + 300})
        await redis.zadd(SENT_KEY, {task_id: now})  # a moment ago, once more
        await redis.hset(task_key(task_id), "accepted_at", accepted_at)

    lines = (await client.get("/metrics")).text.splitlines()

    assert {"scratch_queue_depth 0.0", "scratch_oldest_task_seconds 0.0"} <= set(empty)
    assert "scratch_queue_depth 3.0" in lines
    (oldest,) = [line for line in lines if line.startswith("scratch_oldest_task_seconds ")]
    assert 120 <= float(oldest.split()[1]) < 150


@pytest.mark.parametrize("path", ["/docs", "/openapi.json"])
async def test_documentation(client: httpx.AsyncClient, path):
    assert (await client.get(path)).status_code == 200


async def test_openapi_offers_the_file_and_shows_problems(client):
    schema = (await client.get("/openapi.json")).json()
    post = schema["paths"]["/upload_image"]["post"]
    form = post["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["properties"]["file"]["format"] == "binary"
    assert {"200", "202", "400", "413", "415", "422", "503"} <= set(post["responses"])
    for status, response in post["responses"].items():
        for media in response["content"].values():
            assert "example" in media, status
    assert "Problem" in schema["components"]["schemas"]
    assert "HTTPValidationError" not in str(schema["paths"])
