"""A photo goes in, an answer comes out: every way of asking gives the same one."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.service import BUNDLED, ROOT, Service, wait_until
from tests.photos import encoded, gradient, jpeg, steel


def finished(service: Service, task_id: str) -> dict[str, Any]:
    response = service.http.get(f"/tasks/{task_id}", params={"wait": 50})
    assert response.status_code == 200
    return dict(response.json())


def test_an_upload_is_answered_with_three_keys_and_two_headers(service: Service) -> None:
    response = service.upload(jpeg())

    assert response.status_code == 200
    body = response.json()
    assert set(body) == {"pred", "prob_no_scratches", "prob_scratches"}
    assert body["pred"] in ("scratches", "no_scratches")
    assert body["prob_no_scratches"] + body["prob_scratches"] == pytest.approx(1)
    assert response.headers["x-model"].startswith("scratch-lite@")
    assert len(response.headers["x-task-id"]) == 32


def test_waiting_and_asking_by_id_give_the_same_numbers(service: Service) -> None:
    photos = [
        photo.read_bytes() for kind in ("scratches", "no_scratches") for photo in steel(kind, 6)
    ]
    for photo in photos:
        waited = service.upload(photo).json()
        accepted = service.upload(photo, wait="false")
        assert accepted.status_code == 202
        view = finished(service, accepted.json()["task_id"])
        assert view["status"] == "done"
        assert view["result"] == pytest.approx(waited, abs=1e-5)


def test_prefer_respond_async_is_answered_with_a_place_to_look(service: Service) -> None:
    response = service.http.post(
        "/upload_image", files={"file": ("a.jpg", jpeg())}, headers={"Prefer": "respond-async"}
    )

    assert response.status_code == 202
    assert response.headers["location"] == response.json()["status_url"]
    assert finished(service, response.json()["task_id"])["status"] == "done"


def test_a_task_names_its_model_and_where_the_time_went(service: Service) -> None:
    response = service.upload(jpeg())

    view = finished(service, response.headers["x-task-id"])

    assert view["model"] == response.headers["x-model"]
    assert {"queue", "fetch", "decode", "wait", "forward"} <= set(view["timings_ms"])


def test_many_files_are_answered_in_order_and_a_bad_one_stops_no_other(service: Service) -> None:
    files = [
        ("files", ("a.jpg", jpeg(1))),
        ("files", ("b.txt", b"no image")),
        ("files", ("c.png", encoded(gradient(seed=2), "PNG"))),
    ]

    response = service.http.post("/upload_images", files=files)

    assert response.status_code == 202
    first, second, third = response.json()["tasks"]
    assert second["problem"]["code"] == "unsupported_image"
    for entry in (first, third):
        assert finished(service, entry["task_id"])["status"] == "done"


def test_many_clients_at_once_get_their_own_answers(service: Service) -> None:
    photos = [jpeg(seed) for seed in range(12)]
    alone = [service.upload(photo).json() for photo in photos]

    with ThreadPoolExecutor(12) as pool:
        together = list(pool.map(lambda photo: service.upload(photo).json(), photos * 4))

    for number, answer in enumerate(together):
        assert answer == pytest.approx(alone[number % 12], abs=1e-3)


def test_a_truncated_photo_is_found_by_the_worker_and_refused(service: Service) -> None:
    data = encoded(gradient(size=(640, 480)), "JPEG")[:-2000]

    response = service.upload(data)

    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["code"] == "corrupt_image"
    accepted = service.upload(data, wait="false").json()
    view = finished(service, accepted["task_id"])
    assert (view["status"], view["error"]["code"]) == ("failed", "corrupt_image")


def test_nothing_is_left_in_redis_but_results_that_expire(service: Service) -> None:
    task_id = service.upload(jpeg()).headers["x-task-id"]
    redis = service.redis

    wait_until(lambda: not redis.exists(f"scratch:upload:{task_id}"))
    wait_until(lambda: redis.zscore("scratch:open", task_id) is None)
    assert 0 < redis.ttl(f"scratch:task:{task_id}") <= 3600
    assert 0 < redis.ttl(f"celery-task-meta-{task_id}") <= 3600
    wait_until(lambda: redis.pubsub_numsub(f"celery-task-meta-{task_id}")[0][1] == 0)


def test_the_log_has_a_line_for_each_task(service: Service) -> None:
    good = service.upload(jpeg(3)).headers["x-task-id"]
    bad = service.upload(jpeg()[:-300], wait="false").json()["task_id"]
    finished(service, bad)
    log = service.folder / "inference_log.txt"

    def lines() -> dict[str, Any]:
        entries = [json.loads(line) for line in log.read_text().splitlines()]
        return {entry["task_id"]: entry for entry in entries}

    wait_until(lambda: {good, bad} <= lines().keys())
    assert lines()[good]["pred"] in ("scratches", "no_scratches")
    assert lines()[bad]["error"]["code"] == "corrupt_image"


def test_flower_lists_the_worker_and_the_task(service: Service) -> None:
    task_id = service.upload(jpeg(4)).headers["x-task-id"]

    wait_until(lambda: "celery@" in service.flower.get("/workers").text)
    wait_until(lambda: task_id in service.flower.get("/tasks").text or _in_flower(service, task_id))


def test_flower_hears_of_every_step_of_every_task(service: Service) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda seed: service.upload(jpeg(seed)), range(40)))

    def told() -> bool:
        (worker,) = service.flower.get("/workers", params={"json": 1}).json()["data"]
        return bool(worker["task-received"] == worker["task-started"] == worker["task-succeeded"])

    wait_until(told)


def _in_flower(service: Service, task_id: str) -> bool:
    return service.flower.get(f"/task/{task_id}").status_code == httpx.codes.OK


def test_a_celery_client_can_read_the_result(service: Service) -> None:
    from celery import Celery

    task_id = service.upload(jpeg(5)).headers["x-task-id"]
    redis = service.redis.connection_pool.connection_kwargs
    url = f"redis://:{redis['password']}@127.0.0.1:{redis['port']}/0"

    result = Celery(broker=url, backend=url).AsyncResult(task_id)

    assert result.state == "SUCCESS"
    assert result.result["prediction"]["pred"] in ("scratches", "no_scratches")


def cli(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli.main", *words],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_submit_and_predict_agree(service: Service, tmp_path: Path) -> None:
    for seed in range(3):
        (tmp_path / f"{seed}.jpg").write_bytes(jpeg(seed))
    (tmp_path / "broken.png").write_bytes(b"no image")

    sent = cli("submit", str(tmp_path), "--json", "--url", str(service.http.base_url))
    local = cli("predict", str(tmp_path), "--json", "--ckpt", str(BUNDLED))

    assert sent.returncode == local.returncode == 1, (sent.stderr, local.stderr)
    remote = {(line := json.loads(text))["file"]: line for text in sent.stdout.splitlines()}
    here = {(line := json.loads(text))["file"]: line for text in local.stdout.splitlines()}
    assert len(here) == 4
    assert here.keys() == remote.keys()
    for file, answer in here.items():
        if "error" in answer:
            assert remote[file]["error"]["code"] == answer["error"]["code"]
        else:
            assert remote[file] == pytest.approx(answer, abs=1e-3)
