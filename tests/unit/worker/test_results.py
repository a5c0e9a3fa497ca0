"""Celery's backend keeps the first answer, and nothing that is no answer."""

from __future__ import annotations

import json

import fakeredis
import pytest
from celery import Celery

from shared.broker import celery_app
from shared.contract import Outcome
from shared.errors import TaskTimedOut
from shared.records import OPEN_KEY, SENT_KEY, read_result, result_key, task_key, upload_key
from shared.settings import Settings
from worker.results import SCHEME, FirstAnswers

ID = "a" * 32
ANSWER = Outcome.unseen(ID, TaskTimedOut()).encode()


@pytest.fixture
def redis() -> fakeredis.FakeRedis:
    return fakeredis.FakeRedis()


@pytest.fixture
def backend(redis: fakeredis.FakeRedis) -> FirstAnswers:
    settings = Settings(_env_file=None, result_ttl_s=99)
    app: Celery = celery_app(settings, results=False)
    app.conf.result_backend = SCHEME + "redis://:secret@127.0.0.1:1/0"
    backend = app.backend
    assert isinstance(backend, FirstAnswers)
    backend.client = redis
    return backend


def test_an_answer_ends_the_task(backend: FirstAnswers, redis: fakeredis.FakeRedis) -> None:
    redis.set(upload_key(ID), "image")
    for ids in (OPEN_KEY, SENT_KEY):
        redis.zadd(ids, {ID: 1})

    backend.store_result(ID, ANSWER, "SUCCESS")

    assert backend.came_first
    assert read_result(redis.get(result_key(ID))) == Outcome.decode(ANSWER)
    assert 0 < redis.ttl(result_key(ID)) <= 99
    assert redis.hexists(task_key(ID), "finished_at")
    assert not redis.exists(upload_key(ID), OPEN_KEY, SENT_KEY)


def test_a_second_answer_changes_nothing(backend: FirstAnswers, redis: fakeredis.FakeRedis) -> None:
    backend.store_result(ID, ANSWER, "SUCCESS")
    first = redis.get(result_key(ID))

    backend.store_result(ID, {"another": "one"}, "SUCCESS")

    assert redis.get(result_key(ID)) == first
    assert not backend.came_first


@pytest.mark.parametrize("state", ["RETRY", "FAILURE", "STARTED"])
def test_what_is_no_answer_leaves_the_task_open(
    backend: FirstAnswers, redis: fakeredis.FakeRedis, state: str
) -> None:
    backend.store_result(ID, OSError("Redis was away"), state)

    assert redis.keys() == []


def test_an_operators_revocation_ends_the_task(
    backend: FirstAnswers, redis: fakeredis.FakeRedis
) -> None:
    backend.mark_as_revoked(ID, "by Flower", store_result=True)

    assert json.loads(redis.get(result_key(ID)))["status"] == "REVOKED"


def test_celery_reads_what_we_store(backend: FirstAnswers) -> None:
    backend.store_result(ID, ANSWER, "SUCCESS")

    assert backend.get_state(ID) == "SUCCESS"
    assert backend.get_result(ID) == ANSWER


def test_the_password_stays_out_of_banners(backend: FirstAnswers) -> None:
    assert "secret" not in backend.as_uri()
