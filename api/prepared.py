"""A route that knows before the first request what its handler needs.

FastAPI finds that out anew for each request, which was a fifth of the time that an upload costs
the api. It still says what is declared, described and refused: the plan is made from the very tree
that it would solve, who may come in included, and it reads each value that a client sends. All else
is left to it as a whole: requests with a wrong value, and trees with anything in them that a plan
does not follow.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, fields
from types import NoneType
from typing import Any, cast, get_args, get_type_hints

from fastapi import Request, routing
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import request_params_to_args
from starlette.datastructures import Headers, QueryParams
from starlette.responses import Response

Handler = Callable[[Request], Coroutine[Any, Any, Response]]
Call = Callable[..., Coroutine[Any, Any, Any]]

#: fields of a Dependant: the arguments that are the request itself
_REQUEST = ("request_param_name", "http_connection_param_name")
#: and the others that a plan follows, or that mean nothing to coroutines; all else must be empty
_FOLLOWED = {"call", "dependencies", "header_params", "name", "query_params", "use_cache"}
_MEANINGLESS = {"path", "scope"}
#: such defaults can be shared by requests, and such parameters go by their alias alone
_SIMPLE = {str, bool, int, float, NoneType}


class PreparedRoute(routing.APIRoute):
    def get_route_handler(self) -> Handler:
        """FastAPI's own where nothing can be prepared."""
        thorough = super().get_route_handler()
        tree = _tree(self)
        if not (tree and _followed(tree) and _gives_response(tree.call)):
            return thorough
        steps = list({step.call: step for step in _steps(tree)}.values())  # FastAPI calls each once

        async def handle(request: Request) -> Response:
            if request.app.dependency_overrides:
                return await thorough(request)
            try:  # before anything is called: FastAPI then starts from the beginning
                arguments = [step.arguments(request) for step in steps]
            except ValueError:
                return await thorough(request)
            results: dict[Call, Any] = {}
            for step, found in zip(steps, arguments, strict=True):
                needs = {name: results[call] for name, call in step.needs}
                results[step.call] = await step.call(**found, **needs)
            return cast(Response, results[steps[-1].call])

        return handle


@dataclass(frozen=True, eq=False)
class _Step:
    """One call: a dependency's, or at last the handler's own."""

    call: Call
    #: by argument, the calls whose results it takes
    needs: list[tuple[str, Call]]
    #: arguments that are the request itself
    requests: list[str]
    #: FastAPI's fields, by their alias
    query: dict[str, Any]
    headers: dict[str, Any]
    defaults: dict[str, Any]

    def arguments(self, request: Request) -> dict[str, Any]:
        """Those that come from the request. Raises ValueError when one of its values is wrong."""
        found: dict[str, Any] = dict.fromkeys(self.requests, request)
        if self.defaults:
            found |= self.defaults
            found |= _read(self.query, request.query_params)
            found |= _read(self.headers, request.headers)
        return found


def _read(declared: dict[str, Any], received: QueryParams | Headers) -> dict[str, Any]:
    """Raises ValueError."""
    sent = [field for alias, field in declared.items() if alias in received]
    values, errors = request_params_to_args(sent, received)
    if errors:
        raise ValueError(errors)
    return values


def _tree(route: PreparedRoute) -> Dependant | None:
    """With what was declared where the route was included; None where FastAPI does not tell."""
    included = getattr(routing, "_effective_route_context_var", None)
    context = included.get() if included else None
    return context.dependant if context and context.original_route is route else None


def _followed(tree: Dependant) -> bool:
    """Whether a plan does all that FastAPI would do; it may come to know more than we do."""
    unknown = {field.name for field in fields(tree)} - _FOLLOWED - _MEANINGLESS - {*_REQUEST}
    return (
        _is_coroutine(tree.call)
        and tree.use_cache
        and not any(getattr(tree, name) for name in unknown)
        and all(_is_simple(field) for field in tree.query_params + tree.header_params)
        and all(_followed(need) for need in tree.dependencies)
    )


def _is_coroutine(call: Any) -> bool:
    return any(inspect.iscoroutinefunction(found) for found in (call, type(call).__call__))


def _is_simple(field: Any) -> bool:
    """With a default, too."""
    info = field.field_info
    return (
        type(info.default) in _SIMPLE
        and _leaves(info.annotation) <= _SIMPLE
        and info.validation_alias in (None, info.alias)
        and not (info.validate_default or field.config)
    )


def _leaves(annotation: Any) -> set[Any]:
    """`str` and `NoneType` of `list[str] | None`."""
    parts = get_args(annotation)
    return set().union(*map(_leaves, parts)) if parts else {annotation}


def _gives_response(call: Any) -> bool:
    """Anything else would have to be validated and written."""
    returns = get_type_hints(call).get("return")
    return isinstance(returns, type) and issubclass(returns, Response)


def _steps(tree: Dependant) -> Iterator[_Step]:
    for need in tree.dependencies:
        yield from _steps(need)
    parameters = tree.query_params + tree.header_params
    yield _Step(
        call=cast(Call, tree.call),
        needs=[(need.name, cast(Call, need.call)) for need in tree.dependencies if need.name],
        requests=[name for field in _REQUEST if (name := getattr(tree, field))],
        query={field.alias: field for field in tree.query_params},
        headers={field.alias: field for field in tree.header_params},
        defaults={field.name: field.default for field in parameters},
    )
