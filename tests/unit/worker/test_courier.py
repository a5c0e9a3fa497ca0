"""One attempt, against a real receiver on loopback."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from ipaddress import ip_network
from pathlib import Path

import pytest
import trustme

import scratch
from shared.callbacks import Reach
from tests.receiver import SECRET, Receiver, receiving
from worker.courier import Courier

OTHER = "whsec_QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB"
VIEW = '{"task_id":"t1","status":"failed","error":{"code":"corrupt_image","message":"é"}}'
LOOPBACK = Reach((ip_network("127.0.0.0/8"),))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
async def courier() -> AsyncIterator[Courier]:
    async with Courier([SECRET], LOOPBACK, timeout_s=5) as courier:
        yield courier


async def test_what_arrives_is_signed(receiver: Receiver, courier: Courier) -> None:
    receipt = await courier.post(receiver.url + "?key=1", "t1", VIEW)

    (got,) = receiver.deliveries
    told = scratch.verify_webhook(got.headers, got.body, SECRET)
    assert receipt.taken
    assert (got.path, got.body.decode()) == ("/hook?key=1", VIEW)
    assert got.headers["content-type"] == "application/json"
    assert told.task_id == got.headers["webhook-id"] == "t1"
    assert isinstance(told.outcome, scratch.Refused)
    with pytest.raises(scratch.BadSignature):
        scratch.verify_webhook(got.headers, got.body + b" ", SECRET)


async def test_while_a_secret_is_changed_both_sign(receiver: Receiver) -> None:
    async with Courier([SECRET, OTHER], LOOPBACK, timeout_s=5) as courier:
        await courier.post(receiver.url, "t1", VIEW)
    (got,) = receiver.deliveries
    for secret in (SECRET, OTHER):
        assert scratch.verify_webhook(got.headers, got.body, secret).task_id == "t1"


@pytest.mark.parametrize("status", [302, 400, 404, 500])
async def test_only_a_2xx_is_a_yes(receiver: Receiver, courier: Courier, status: int) -> None:
    receiver.statuses = [status]
    receiver.answer_headers = {"Location": receiver.url}
    receipt = await courier.post(receiver.url, "t1", VIEW)
    assert (receipt.taken, receipt.final, receipt.why) == (False, False, str(status))
    assert len(receiver.deliveries) == 1


async def test_gone_is_final_and_a_busy_one_may_say_when(
    receiver: Receiver, courier: Courier
) -> None:
    receiver.statuses = [410, 503, 429]
    receiver.answer_headers = {"Retry-After": "77"}
    assert (await courier.post(receiver.url, "t1", VIEW)).final
    assert (await courier.post(receiver.url, "t1", VIEW)).retry_after_s == 77
    receiver.answer_headers = {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}
    assert (await courier.post(receiver.url, "t1", VIEW)).retry_after_s == 0


async def test_a_certificate_must_be_of_a_known_authority(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    known = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(known))
    with receiving(context) as receiver:
        async with Courier([SECRET], LOOPBACK, timeout_s=5) as courier:
            receipt = await courier.post(receiver.url, "t1", VIEW)
            assert (receipt.taken, receipt.why) == (False, "ConnectError")
        monkeypatch.setenv("SSL_CERT_FILE", str(known))
        async with Courier([SECRET], LOOPBACK, timeout_s=5) as courier:
            assert (await courier.post(receiver.url, "t1", VIEW)).taken


async def test_one_that_hangs_is_left(receiver: Receiver) -> None:
    receiver.statuses = [0]
    async with Courier([SECRET], LOOPBACK, timeout_s=0.2) as courier:
        receipt = await courier.post(receiver.url, "t1", VIEW)
    assert (receipt.taken, receipt.final, receipt.why) == (False, False, "TimeoutError")


async def test_one_that_drips_is_left() -> None:
    """Each byte comes in time, but they never end."""

    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while not writer.is_closing():
            writer.write(b"X: 1\r\n")
            await asyncio.sleep(0.02)
        ended.set()

    ended = asyncio.Event()
    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, Courier([SECRET], LOOPBACK, timeout_s=0.3) as courier:
        assert not (await courier.post(f"http://127.0.0.1:{port}/", "t1", VIEW)).taken
        await ended.wait()  # it has hung up


async def test_a_long_answer_is_not_read(receiver: Receiver, courier: Courier) -> None:
    receiver.statuses, receiver.answer = [200], b"x" * 2**24
    assert (await courier.post(receiver.url, "t1", VIEW)).taken


async def test_nobody_listens(courier: Courier) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    receipt = await courier.post(f"http://127.0.0.1:{port}/", "t1", VIEW)
    assert (receipt.taken, receipt.final, receipt.why) == (False, False, "ConnectError")


async def test_a_name_that_leads_inside_by_now_is_not_connected_to(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(receiver.url.split(":")[2].split("/")[0])

    def rebound(*_: object, **__: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", rebound)
    for url in (f"https://evil.example:{port}/", f"http://evil.example:{port}/"):
        async with Courier([SECRET], Reach(), timeout_s=5) as courier:
            receipt = await courier.post(url, "t1", VIEW)
        assert (receipt.final, receipt.why) == (True, "AddressRefused")
    assert not receiver.deliveries


async def test_of_several_addresses_those_that_may_be_reached_are_tried_in_turn(
    receiver: Receiver, courier: Courier, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(receiver.url.split(":")[2].split("/")[0])
    tried = ["10.0.0.1", "127.0.0.3", "127.0.0.1"]  # refused, nobody listens, listens

    def several(*_: object, **__: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in tried]

    monkeypatch.setattr(socket, "getaddrinfo", several)
    assert (await courier.post(f"http://many.example:{port}/", "t1", VIEW)).taken


@pytest.mark.parametrize("url", ["https://" + "x" * 70 + ".example/", "gopher://a/", "", "::"])
async def test_what_is_no_url_costs_an_attempt_and_nothing_else(courier: Courier, url: str) -> None:
    assert not (await courier.post(url, "t1", VIEW)).taken
