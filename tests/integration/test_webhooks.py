"""Callbacks of a real stack, to a real receiver."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

import scratch
from cli.stack import free_port
from shared.outbox import AWAITED_KEY, DUE_KEY
from tests.integration.service import PATIENCE_S, Service, running, wait_until, wait_until_written
from tests.photos import jpeg
from tests.receiver import SECRET, SETTINGS, Receiver, receiving


@pytest.fixture(scope="module")
def calling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    environment = {
        **SETTINGS,
        "SCRATCH_WEBHOOK_RETRY_S": "0.2",
        "SCRATCH_WEBHOOK_TIMEOUT_S": "4",
        "SCRATCH_RESEND_AFTER_S": "1",
        "SCRATCH_METRICS_PORT": str(free_port()),
    }
    with running(tmp_path_factory.mktemp("calling"), environment) as stack:
        yield stack


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def upload(stack: Service, data: bytes, url: str, **params: Any) -> httpx.Response:
    return stack.http.post(
        "/upload_image",
        files={"file": ("a.jpg", data)},
        data={"callback_url": url},
        params={"wait": "false", **params},
    )


def counted(stack: Service, outcome: str) -> float:
    port = stack.program("worker.app").environ()["SCRATCH_METRICS_PORT"]
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE_S).text
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "scratch_worker_webhooks_total" and sample.labels["outcome"] == outcome
    )


def all_told(stack: Service) -> bool:
    return stack.redis.zcard(DUE_KEY) + stack.redis.zcard(AWAITED_KEY) == 0


def killed(*processes: psutil.Process) -> None:
    """Kills all at once, and waits until they are gone."""
    for process in processes:
        process.kill()
    for process in processes:
        process.wait(PATIENCE_S)


def test_a_receiver_that_fails_twice_is_told_what_the_task_says(
    calling: Service, receiver: Receiver
) -> None:
    receiver.statuses = [500, 503]
    sent, failed = counted(calling, "sent"), counted(calling, "failed")
    task_id = upload(calling, jpeg(), f"{receiver.url}?key=secret").json()["task_id"]

    wait_until(lambda: len(receiver.of(task_id)) == 3)
    deliveries = receiver.of(task_id)

    view = calling.http.get(f"/tasks/{task_id}", params={"wait": 10}).json()
    assert [json.loads(got.body) for got in deliveries] == [view] * 3
    assert {got.path for got in deliveries} == {"/hook?key=secret"}
    for got in deliveries:
        told = scratch.verify_webhook(got.headers, got.body, SECRET)
        assert isinstance(told.outcome, scratch.Inspection)
    wait_until(lambda: counted(calling, "sent") == sent + 1)
    wait_until(lambda: counted(calling, "failed") == failed + 2)
    assert "key=secret" not in calling.log("worker") + calling.log("api")


def test_every_end_is_told(calling: Service, receiver: Receiver) -> None:
    # Given one that is broken, one that is cancelled, and one whose deadline passes
    broken = upload(calling, jpeg()[:-300], receiver.url).json()["task_id"]
    worker = calling.program("worker.app")
    worker.suspend()
    cancelled = upload(calling, jpeg(1), receiver.url).json()["task_id"]
    calling.http.delete(f"/tasks/{cancelled}").raise_for_status()
    late = upload(calling, jpeg(2), receiver.url, deadline=0.5).json()["task_id"]
    time.sleep(0.5)
    worker.resume()
    # Then
    wait_until(lambda: all(receiver.of(task_id) for task_id in (broken, cancelled, late)))
    codes = [
        json.loads(receiver.of(task_id)[0].body)["error"]["code"]
        for task_id in (broken, cancelled, late)
    ]
    assert codes == ["corrupt_image", "task_cancelled", "task_timed_out"]


def test_a_batch_tells_each_of_its_files(calling: Service, receiver: Receiver) -> None:
    answer = calling.http.post(
        "/upload_images",
        files=[("files", ("a.jpg", jpeg(seed))) for seed in range(5)],
        data={"callback_url": receiver.url},
    )
    ids = {entry["task_id"] for entry in answer.json()["tasks"]}
    wait_until(lambda: ids == {got.headers["webhook-id"] for got in receiver.deliveries})


def test_a_receiver_that_hangs_delays_neither_answers_nor_other_receivers(
    calling: Service, receiver: Receiver
) -> None:
    with receiving() as hanging:
        hanging.statuses = [0] * 1000
        for seed in range(40):  # more than there are task threads
            upload(calling, jpeg(seed), hanging.url)
        wait_until(lambda: len(hanging.deliveries) >= 6)

        assert calling.upload(jpeg()).status_code == 200
        task_id = upload(calling, jpeg(), receiver.url).json()["task_id"]
        wait_until(lambda: bool(receiver.of(task_id)))
        hanging.statuses = []
        # it is told when it comes back
        wait_until(lambda: all_told(calling))
        assert len({got.headers["webhook-id"] for got in hanging.deliveries}) == 40


@pytest.mark.parametrize(
    "url",
    ["https://10.0.0.1/", "http://169.254.169.254/", "https://[::1]/", "http://example.com:22/"],
)
def test_an_address_of_the_inside_is_refused_with_the_upload(calling: Service, url: str) -> None:
    answer = upload(calling, jpeg(), url)
    assert (answer.status_code, answer.json()["code"]) == (422, "callback_refused")


def test_a_worker_that_dies_between_answer_and_delivery(
    calling: Service, receiver: Receiver
) -> None:
    # Given answers that the receiver will not take before the worker is killed
    receiver.statuses = [0] * 1000
    ids = [upload(calling, jpeg(seed), receiver.url).json()["task_id"] for seed in range(3)]
    for task_id in ids:
        calling.http.get(f"/tasks/{task_id}", params={"wait": 10})
    wait_until(lambda: all(receiver.of(task_id) for task_id in ids))
    killed(calling.program("worker.app"))
    before = [len(receiver.of(task_id)) for task_id in ids]
    # Then the next one delivers them
    receiver.statuses = []
    wait_until(lambda: all_told(calling))
    assert all(len(receiver.of(i)) > n for i, n in zip(ids, before, strict=True))


def test_redis_and_worker_killed_at_once(calling: Service, receiver: Receiver) -> None:
    receiver.statuses = [0] * 1000
    task_id = upload(calling, jpeg(), receiver.url).json()["task_id"]
    wait_until(lambda: bool(receiver.of(task_id)))
    wait_until_written(calling.redis)
    killed(calling.program("worker.app"), calling.program("redis-server"))
    before = len(receiver.of(task_id))
    receiver.statuses = []
    wait_until(lambda: len(receiver.of(task_id)) > before)
