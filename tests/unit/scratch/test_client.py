"""Both clients against a service that is played."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import httpx
import pytest

import scratch
from scratch import protocol

RESULT = {"pred": "scratches", "prob_no_scratches": 0.25, "prob_scratches": 0.75}
PROBLEM = {
    "title": "Bad",
    "status": 415,
    "detail": "This is no image.",
    "code": "unsupported_image",
}
Handler = Callable[[httpx.Request], httpx.Response]
Ask = Callable[..., Any]


class Service:
    """Accepts every upload as task `t1`, and answers from `views` in turn."""

    def __init__(self, *views: dict[str, Any]) -> None:
        self.requests: list[httpx.Request] = []
        #: answered before anything else
        self.first: list[httpx.Response | Exception] = []
        self.views = list(views) or [view()]

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if self.first:
            answer = self.first.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        if request.method == "POST":
            return httpx.Response(202, json={"task_id": "t1", "status": "queued"})
        if request.url.path.endswith("heatmap.png"):
            return httpx.Response(200, content=b"png")
        return httpx.Response(200, json=self.views.pop(0) if self.views else view("queued"))


def view(status: str = "done", **fields: Any) -> dict[str, Any]:
    result = RESULT if status == "done" else None
    return {"task_id": "t1", "status": status, "result": result, "model": "m@1", **fields}


def busy(status: int = 503, **headers: str) -> httpx.Response:
    problem = {**PROBLEM, "status": status, "code": "queue_full"}
    return httpx.Response(status, json=problem, headers={"Retry-After": "0", **headers})


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """`ask(service, method, *args)`, by either client."""
    monkeypatch.setattr(protocol, "_PAUSE_S", 0)

    def synchronous(service: Handler, method: str, *args: Any, **kwargs: Any) -> Any:
        with scratch.Client(transport=httpx.MockTransport(service), api_key="k") as client:
            found = getattr(client, method)(*args, **kwargs)
            return list(found) if method == "predict_many" else found

    async def awaited(service: Handler, method: str, *args: Any, **kwargs: Any) -> Any:
        transport = httpx.MockTransport(service)
        async with scratch.AsyncClient(transport=transport, api_key="k") as client:
            found = getattr(client, method)(*args, **kwargs)
            if method == "predict_many":
                return [pair async for pair in found]
            return await found

    if request.param == "sync":
        return synchronous
    return lambda *args, **kwargs: asyncio.run(awaited(*args, **kwargs))


def test_a_photo_is_sent_and_waited_for(ask: Ask) -> None:
    where = {"hottest": [0.1, 0.2], "box": [0, 0, 0.3, 0.4], "heatmap_url": "/h"}
    service = Service(view("running"), view(explanation=where))

    answer = ask(service, "predict", b"image", explain=True)

    assert answer == scratch.Inspection(
        "t1", "scratches", 0.25, 0.75, "m@1", scratch.Where((0.1, 0.2), (0, 0, 0.3, 0.4))
    )
    upload = service.requests[0]
    assert upload.url.params["explain"] == "true"
    assert upload.headers["authorization"] == "Bearer k"
    assert b"image" in upload.content


def test_the_verdict_comes_along_where_the_service_tells_it(ask: Ask) -> None:
    told = {"verdict": "review", "bound": "missed scratches at most 1 %", "reason": "between"}

    answer = ask(Service(view(**told)), "predict", b"image")

    assert (answer.verdict, answer.bound, answer.reason) == tuple(told.values())


def test_a_path_is_read_and_not_told(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "secret-customer.jpg").write_bytes(b"pixels")
    service = Service()

    assert ask(service, "submit", tmp_path / "secret-customer.jpg") == "t1"
    assert b"pixels" in service.requests[0].content
    assert b"secret" not in service.requests[0].content


def test_a_callback_is_ordered_with_the_photo(ask: Ask) -> None:
    service = Service()
    ask(service, "submit", b"image", callback_url="https://example.com/?a=1&b=2")
    ask(service, "submit", b"image")
    with_callback, without = service.requests
    assert b'name="callback_url"\r\n\r\nhttps://example.com/?a=1&b=2\r\n' in with_callback.content
    assert b"callback_url" not in without.content


@pytest.mark.parametrize("note", [None, "a reflection"])
def test_feedback(ask: Ask, note: str | None) -> None:
    told = {"task_id": "t1", "label": "no_scratches", "pred": "scratches", "image_kept": True}
    service = Service()
    service.first = [busy(), httpx.Response(200, json=told)]

    assert ask(service, "feedback", "t1", "wrong", note=note) == scratch.Feedback(**told)
    *_, request = service.requests
    assert (request.method, request.url.path) == ("POST", "/tasks/t1/feedback")
    said = {"label": "wrong", "note": note} if note else {"label": "wrong"}
    assert json.loads(request.content) == said


def test_feedback_that_is_refused(ask: Ask) -> None:
    service = Service()
    service.first = [httpx.Response(404, json={**PROBLEM, "code": "task_not_found"})]
    with pytest.raises(scratch.Refused) as refused:
        ask(service, "feedback", "t9", "right")
    assert refused.value.code == "task_not_found"


def test_a_busy_service_is_asked_again_under_the_same_key(ask: Ask) -> None:
    service = Service()
    service.first = [busy(), busy(429), httpx.ConnectError("gone")]

    assert ask(service, "predict", b"image").pred == "scratches"
    keys = {r.headers["idempotency-key"] for r in service.requests if r.method == "POST"}
    assert len(service.requests) == 5 and len(keys) == 1


def test_patience_ends(ask: Ask) -> None:
    service = Service()
    service.first = [busy() for _ in range(50)]

    with pytest.raises(scratch.Refused) as refused:
        ask(service, "predict", b"image")
    assert (refused.value.code, refused.value.status) == ("queue_full", 503)
    assert len(service.requests) == protocol.BUSY_TRIES


def test_nothing_answers(ask: Ask) -> None:
    service = Service()
    service.first = [httpx.ConnectError("refused") for _ in range(50)]

    with pytest.raises(scratch.ServiceUnreachable, match="refused"):
        ask(service, "predict", b"image")
    assert len(service.requests) == protocol.SILENT_TRIES


def test_a_refusal_is_not_repeated(ask: Ask) -> None:
    service = Service()
    service.first = [httpx.Response(415, json=PROBLEM)]

    with pytest.raises(scratch.Refused, match="no image") as refused:
        ask(service, "predict", b"text")
    assert refused.value.code == "unsupported_image"
    assert len(service.requests) == 1


def test_a_failed_task_is_a_refusal(ask: Ask) -> None:
    error = {"code": "corrupt_image", "message": "It is cut off."}

    with pytest.raises(scratch.Refused, match="cut off") as refused:
        ask(Service(view("failed", error=error)), "wait", "t1")
    assert (refused.value.code, refused.value.status) == ("corrupt_image", None)


def test_waiting_has_an_end(ask: Ask) -> None:
    with pytest.raises(scratch.TimedOut):
        ask(Service(view("queued")), "wait", "t1", timeout=0.01)


@pytest.mark.parametrize(
    ("status", "body"), [(200, "<p>"), (502, "<p>"), (200, "{}"), (404, '{"detail": "Not Found"}')]
)
def test_another_program_is_told_apart(ask: Ask, status: int, body: str) -> None:
    service = Service()
    service.first = [httpx.Response(status, text=body)]

    with pytest.raises(scratch.NotTheService):
        ask(service, "submit", b"image")


def test_a_heatmap(ask: Ask) -> None:
    assert ask(Service(), "heatmap", "t1") == b"png"


def test_many_go_on_when_one_is_refused(ask: Ask, tmp_path: Path) -> None:
    def service(request: httpx.Request) -> httpx.Response:
        if b"\r\n\r\nbad\r\n" in request.content:  # the photo; a boundary may spell it, too
            return httpx.Response(415, json=PROBLEM)
        return Service()(request)

    photos = [b"good 1", b"bad", tmp_path / "missing.jpg", b"good 2"]
    answers: dict[Any, Any] = dict(ask(service, "predict_many", photos, at_once=2))

    assert answers.keys() == set(photos)
    assert answers[b"good 1"].pred == answers[b"good 2"].pred == "scratches"
    assert answers[b"bad"].code == "unsupported_image"
    assert isinstance(answers[photos[2]], FileNotFoundError)


def test_many_are_a_few_at_a_time(ask: Ask) -> None:
    """A photo is taken from the caller only when another has ended."""
    taken: list[int] = []
    sent: list[int] = []

    def service(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            sent.append(len(taken))
        return Service()(request)

    def photos() -> Iterable[bytes]:
        for number in range(10):
            taken.append(number)
            yield json.dumps(number).encode()

    assert len(ask(service, "predict_many", photos(), at_once=3)) == 10
    assert sent[0] <= 3
    assert all(ahead - done <= 4 for done, ahead in enumerate(sent))
