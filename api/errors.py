"""The one table from errors to HTTP, and the one shape of their bodies (RFC 9457)."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any, cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from redis.exceptions import RedisError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Match

from api.disconnect import ClientGone
from api.headers import make_safe
from api.metrics import Metrics
from api.schemas import Problem
from shared import errors as e

logger = logging.getLogger(__name__)

#: the nearest class in the MRO counts
STATUS: dict[type[e.ServiceError], HTTPStatus] = {
    e.UploadError: HTTPStatus.BAD_REQUEST,
    e.UploadTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    e.KeyReused: HTTPStatus.UNPROCESSABLE_ENTITY,
    e.CallbackRefused: HTTPStatus.UNPROCESSABLE_ENTITY,
    e.UploadTooSlow: HTTPStatus.REQUEST_TIMEOUT,
    e.ImageError: HTTPStatus.UNPROCESSABLE_ENTITY,
    e.UnsupportedImage: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    e.TaskNotFound: HTTPStatus.NOT_FOUND,
    e.NoAnswerYet: HTTPStatus.CONFLICT,
    e.TaskNotCancellable: HTTPStatus.CONFLICT,
    e.TaskCancelled: HTTPStatus.CONFLICT,
    e.TaskTimedOut: HTTPStatus.GATEWAY_TIMEOUT,
    e.UploadLost: HTTPStatus.GATEWAY_TIMEOUT,
    e.Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    e.RateLimited: HTTPStatus.TOO_MANY_REQUESTS,
    e.LinkError: HTTPStatus.NOT_FOUND,
    e.LinkExpired: HTTPStatus.GONE,
    e.LinkUsed: HTTPStatus.CONFLICT,
    e.Unauthorized: HTTPStatus.UNAUTHORIZED,
    e.NotReviewer: HTTPStatus.FORBIDDEN,
    e.ServiceError: HTTPStatus.INTERNAL_SERVER_ERROR,
}

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")

_CODES_OF_HTTP = {
    HTTPStatus.NOT_FOUND: "not_found",
    HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: e.UploadTooLarge.code,
}


def status_of(error: e.ServiceError) -> HTTPStatus:
    return next(STATUS[cls] for cls in type(error).__mro__ if cls in STATUS)


def problem_of(error: e.ServiceError) -> Problem:
    return _problem(status_of(error), error.code, error.message)


def install(app: FastAPI) -> None:
    """Registers every handler; nothing else in the api turns errors into answers."""
    app.add_exception_handler(e.ServiceError, _service_error)
    app.add_exception_handler(RedisError, _redis_error)
    app.add_exception_handler(TimeoutError, _redis_error)
    app.add_exception_handler(ClientGone, _client_gone)
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _unknown_error)


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What /docs says about the errors of a route."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {
                "application/problem+json": {
                    "schema": {"$ref": "#/components/schemas/Problem"},
                    "example": _EXAMPLES[status].model_dump(exclude_none=True),
                }
            },
        }
        for status in statuses
    }


def _problem(status: HTTPStatus, code: str, detail: str) -> Problem:
    return Problem(title=status.phrase, status=status, detail=detail, code=code)


_EXAMPLES = {
    problem.status: problem
    for problem in (
        problem_of(e.BrokenUpload()),
        problem_of(e.Unauthorized()),
        problem_of(e.NotReviewer()),
        problem_of(e.TaskNotFound()),
        problem_of(e.TaskNotCancellable()),
        problem_of(e.UploadTooSlow()),
        problem_of(e.UploadTooLarge()),
        problem_of(e.UnsupportedImage()),
        problem_of(e.ImageTooLarge()),
        problem_of(e.InferenceFailed()),
        problem_of(e.RateLimited()),
        problem_of(e.Overloaded()),
        problem_of(e.TaskTimedOut()),
    )
}


def _answer(request: Request, problem: Problem, headers: dict[str, str]) -> Response:
    task_id = getattr(request.state, "task_id", None)
    if task_id:
        problem = problem.model_copy(update={"instance": f"/tasks/{task_id}"})
        headers = {**headers, "X-Task-Id": task_id}
    cast(Metrics, request.app.state.metrics).refused(problem.code)
    return JSONResponse(
        problem.model_dump(mode="json", exclude_none=True),
        problem.status,
        headers,
        "application/problem+json",
    )


async def _service_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, e.ServiceError)  # noqa: S101
    headers = {}
    if isinstance(error, e.Unavailable):
        headers["Retry-After"] = str(error.retry_after_s)
    elif isinstance(error, e.Unauthorized):
        headers["WWW-Authenticate"] = 'Bearer realm="scratch"'
    return _answer(request, problem_of(error), headers)


async def _client_gone(_request: Request, _error: Exception) -> Response:
    return Response(status_code=499)  # nobody reads it; nginx's number, for the metrics


async def _redis_error(request: Request, error: Exception) -> Response:
    logger.warning("Redis does not answer: %r", error)
    return await _service_error(request, e.BrokerUnavailable())


async def _invalid_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    detail = "; ".join(
        f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors()
    )
    problem = _problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_request", detail)
    return _answer(request, problem, {})


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    status = HTTPStatus(error.status_code)
    code = _CODES_OF_HTTP.get(status, status.name.lower())
    headers = dict(error.headers or {})
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_allowed(request))
    return _answer(request, _problem(status, code, str(error.detail)), headers)


def _allowed(request: Request) -> list[str]:
    """Starlette names the methods of the first route with this path only."""
    routes = request.app.router.routes

    def match(method: str) -> bool:
        scope = {**request.scope, "method": method}
        return any(route.matches(scope)[0] is Match.FULL for route in routes)

    found = [method for method in _METHODS if match(method)]
    return found + ["HEAD"] * ("GET" in found)


async def _unknown_error(request: Request, error: Exception) -> Response:
    logger.error("unexpected error", exc_info=error)
    response = _answer(request, problem_of(e.InternalError()), {})
    make_safe(response.headers)  # this answer is given outside our middleware
    return response
