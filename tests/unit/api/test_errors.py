from __future__ import annotations

import logging

import pytest
from redis.exceptions import OutOfMemoryError
from redis.exceptions import TimeoutError as RedisTimeoutError

from api.errors import STATUS, problem_of, status_of
from shared import errors as e


def family(root: type[e.ServiceError]) -> list[type[e.ServiceError]]:
    return [root, *(found for child in root.__subclasses__() for found in family(child))]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (e.BrokenUpload, 400),
        (e.EmptyUpload, 400),
        (e.UploadTooLarge, 413),
        (e.UnsupportedImage, 415),
        (e.ImageTooLarge, 422),
        (e.CorruptImage, 422),
        (e.UnsupportedPixels, 422),
        (e.TaskNotFound, 404),
        (e.TaskNotCancellable, 409),
        (e.TaskCancelled, 409),
        (e.TaskTimedOut, 504),
        (e.UploadLost, 504),
        (e.BadMessage, 500),
        (e.PoisonImage, 500),
        (e.InferenceFailed, 500),
        (e.InternalError, 500),
        (e.Unavailable, 503),
        (e.Overloaded, 503),
        (e.BrokerUnavailable, 503),
        (e.CheckpointError, 500),
    ],
)
def test_the_table(error, status):
    assert status_of(error()) == status


@pytest.mark.parametrize("error", family(e.ServiceError))
def test_every_error_has_a_problem(error):
    problem = problem_of(error("what happened"))
    assert problem.code == error.code
    assert problem.detail == "what happened"
    assert problem.status in STATUS.values()


def test_a_new_error_is_answered_as_its_parent():
    class Later(e.Overloaded):
        """Later."""

        code = "queue_full"  # not a code of its own: the family is looked up by code

    assert status_of(Later()) == 503


@pytest.fixture
def failing(app, client):
    async def fail(error: Exception):
        async def route() -> None:
            raise error

        app.add_api_route("/fails", route)
        return await client.get("/fails")

    return fail


@pytest.mark.parametrize(
    "error",
    [RedisTimeoutError("t"), OutOfMemoryError("OOM command not allowed"), TimeoutError("t")],
)
async def test_redis_trouble(failing, error):
    response = await failing(error)
    assert (response.status_code, response.json()["code"]) == (503, "broker_unavailable")
    assert response.headers["retry-after"] == "2"


async def test_the_unexpected_is_logged_and_not_told(failing, caplog):
    with caplog.at_level(logging.ERROR):
        response = await failing(RuntimeError("secret: /etc/path"))
    assert (response.status_code, response.json()["code"]) == (500, "internal_error")
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "secret" not in response.text
    assert "secret" in caplog.text


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/upload_image", 405, "method_not_allowed"),
        ("POST", "/tasks/1", 405, "method_not_allowed"),
    ],
)
async def test_what_starlette_refuses(client, method, path, status, code):
    response = await client.request(method, path)
    assert response.headers["content-type"] == "application/problem+json"
    assert (response.status_code, response.json()["code"]) == (status, code)
    if status == 405:
        assert response.headers["allow"]
