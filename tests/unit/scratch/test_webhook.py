"""What a receiver accepts."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook

import scratch

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
DONE = {
    "task_id": "t1",
    "status": "done",
    "result": {"pred": "scratches", "prob_no_scratches": 0.25, "prob_scratches": 0.75},
    "error": None,
    "model": "m@1",
}


def signed(body: bytes, *, age_s: float = 0) -> dict[str, str]:
    at = datetime.now(UTC) - timedelta(seconds=age_s)
    return {
        "Webhook-Id": "t1",
        "Webhook-Timestamp": str(int(at.timestamp())),
        "Webhook-Signature": Webhook(SECRET).sign("t1", at, body.decode()),
    }


def test_the_specifications_own_example() -> None:
    """The vector of Standard Webhooks: what signs ours signs as everybody does."""
    at = datetime.fromtimestamp(1614265330, UTC)
    signature = Webhook(SECRET).sign("msg_p5jXN8AQM9LWM0D4loKWxJek", at, '{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_an_answer() -> None:
    body = json.dumps(DONE).encode()
    told = scratch.verify_webhook(signed(body), body, SECRET)
    assert told.task_id == "t1"
    assert isinstance(told.outcome, scratch.Inspection)
    assert told.outcome.pred == "scratches"


def test_a_failure() -> None:
    error = {"code": "corrupt_image", "message": "cut"}
    body = json.dumps({**DONE, "status": "failed", "result": None, "error": error}).encode()
    told = scratch.verify_webhook(signed(body), body, SECRET)
    assert isinstance(told.outcome, scratch.Refused)
    assert told.outcome.code == "corrupt_image"


@pytest.mark.parametrize(
    "changed",
    [
        {"Webhook-Signature": "v1,AAAA"},
        {"Webhook-Signature": "nonsense"},
        {"Webhook-Signature": "v1,ä"},
        {"Webhook-Id": "t2"},
        {"Webhook-Timestamp": "yesterday"},
        {"Webhook-Id": ""},
    ],
)
def test_a_forged_one(changed: dict[str, str]) -> None:
    body = json.dumps(DONE).encode()
    with pytest.raises(scratch.BadSignature):
        scratch.verify_webhook({**signed(body), **changed}, body, SECRET)


@pytest.mark.parametrize("age_s", [400, -400])
def test_one_of_another_time(age_s: float) -> None:
    body = json.dumps(DONE).encode()
    with pytest.raises(scratch.BadSignature):
        scratch.verify_webhook(signed(body, age_s=age_s), body, SECRET)


@pytest.mark.parametrize("body", [b"{}", b"[]", b"\xff", b'{"status":"done"}', b""])
def test_what_the_service_never_sends(body: bytes) -> None:
    headers = signed(b"{}" if body == b"\xff" else body)
    with pytest.raises(scratch.BadSignature):
        scratch.verify_webhook(headers, body, SECRET)


def test_another_secret() -> None:
    body = json.dumps(DONE).encode()
    with pytest.raises(scratch.BadSignature):
        scratch.verify_webhook(signed(body), body, "whsec_QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB")
