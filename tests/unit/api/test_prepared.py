"""A prepared route answers as FastAPI's own would, and as the declarations say."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Body, Depends, FastAPI, Header, Query, Request, Response, routing
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.responses import JSONResponse

from api import prepared
from api.main import create_app
from api.prepared import PreparedRoute
from shared.keys import add_key
from tests.fakes_api import image_bytes

Told = tuple[int, list[str]]
_ID = re.compile("[0-9a-f]{32}")


async def _named(request: Request, x_name: Annotated[str | None, Header()] = None) -> str:
    request.state.calls = [*getattr(request.state, "calls", []), "named"]
    return x_name or "nobody"


Named = Annotated[str, Depends(_named)]


async def _greeting(name: Named, times: Annotated[int, Query(ge=1, le=3)] = 1) -> str:
    return f"hello {name} " * times


async def _welcome(
    request: Request,
    greeting: Annotated[str, Depends(_greeting)],
    name: Named,
    tags: Annotated[list[str] | None, Header()] = None,
    loud: Annotated[bool, Query(alias="Loud")] = False,
) -> Response:
    return JSONResponse([greeting, name, tags, loud, request.state.calls])


async def _told(client: httpx.AsyncClient, *request: Any, **options: Any) -> Told:
    """The answer without its task's id."""
    answer = await client.request(*request, **options)
    status, *told = [str(answer.status_code), answer.text, *map(str, answer.headers.items())]
    return int(status), [_ID.sub("ID", text) for text in told]


def _client(app: FastAPI) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://api")


def _app(route_class: type[APIRoute], endpoint: Callable[..., Any]) -> FastAPI:
    app = FastAPI()
    router = APIRouter(route_class=route_class)
    router.post("/it")(endpoint)
    app.include_router(router, dependencies=[Depends(_named)])
    return app


@pytest.fixture
def solved(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that FastAPI has solved itself."""
    paths: list[str] = []
    solve = routing.solve_dependencies

    async def spied(*, request: Request, **options: Any) -> Any:
        paths.append(request.url.path)
        return await solve(request=request, **options)

    monkeypatch.setattr(routing, "solve_dependencies", spied)
    return paths


SENT: list[tuple[str, list[tuple[bytes, bytes]]]] = [
    ("", []),
    ("?times=2&Loud=true", [(b"x-name", b"Ana")]),
    ("?times=2&times=3", [(b"x-name", b"Ana"), (b"X-Name", b"Ben")]),
    ("?loud=1", [(b"x_name", b"Ana")]),
    ("?Loud=ON&unknown=1", [(b"tags", b"a, b"), (b"Tags", b""), (b"TAGS", b"\xe9\xff")]),
    ("?times=%32", [(b"x-name", b"\xc3\xa9")]),
    ("?times=", []),
    ("?times=4", [(b"tags", b"a")]),
    ("?times=x&Loud=maybe", []),
    ("?Loud", [(b"x-name", b"")]),
    ("?times=1.0", []),
    ("?times=\xe9&Loud=%ff", []),
]


@pytest.mark.parametrize(("query", "headers"), SENT)
async def test_it_answers_as_fastapi(query, headers):
    async with _client(_app(PreparedRoute, _welcome)) as ours:
        told = await _told(ours, "POST", f"/it{query}", headers=headers)
    async with _client(_app(APIRoute, _welcome)) as theirs:
        assert told == await _told(theirs, "POST", f"/it{query}", headers=headers)
    assert told[0] in (200, 422)


async def test_fastapi_is_asked_only_about_what_is_wrong(solved):
    async with _client(_app(PreparedRoute, _welcome)) as client:
        answer = await client.post("/it", params={"Loud": "yes"}, headers={"x-name": "Ana"})
        assert (answer.json(), solved) == (["hello Ana ", "Ana", None, True, ["named"]], [])
        assert (await client.post("/it", params={"times": 9})).status_code == 422
    assert "/it" in solved


async def test_what_a_test_puts_in_the_place_of_a_dependency_counts():
    app = _app(PreparedRoute, _welcome)
    app.dependency_overrides[_greeting] = lambda: "hi"
    async with _client(app) as client:
        assert (await client.post("/it")).json()[0] == "hi"


async def test_the_routes_description_is_fastapis():
    assert _app(PreparedRoute, _welcome).openapi() == _app(APIRoute, _welcome).openapi()


class _Model(BaseModel):
    size: int = 3


async def _opened() -> AsyncIterator[str]:
    yield "open"


async def _needed(size: int) -> Response:
    return JSONResponse(size)


async def _body(size: Annotated[int, Body(embed=True)] = 3) -> Response:
    return JSONResponse(size)


async def _model(asked: Annotated[_Model, Query()]) -> Response:
    return JSONResponse(asked.size)


async def _perhaps(asked: Annotated[_Model | None, Query()] = None) -> Response:
    return JSONResponse(asked and asked.size)


async def _mutable(size: Annotated[list[int], Query(default_factory=list)]) -> Response:
    return JSONResponse([*size, 3])


async def _generating(size: Annotated[str, Depends(_opened)]) -> Response:
    return JSONResponse(size)


async def _threaded(size: Annotated[int, Depends(lambda: 3)]) -> Response:
    return JSONResponse(size)


async def _afresh(again: Annotated[str, Depends(_named, use_cache=False)], r: Request) -> Response:
    return JSONResponse(r.state.calls)


async def _answering(response: Response) -> Response:
    return JSONResponse(response.headers.get("x-size"))


async def _no_response() -> int:
    return 3


def _sync() -> Response:
    return JSONResponse(3)


@pytest.mark.parametrize(
    "endpoint",
    [
        _needed, _body, _model, _perhaps, _mutable, _generating, _threaded, _afresh, _answering,
        _no_response, _sync,
    ],
)  # fmt: skip
async def test_what_a_plan_does_not_follow_is_left_to_fastapi(endpoint, solved):
    async with _client(_app(PreparedRoute, endpoint)) as ours:
        told = await _told(ours, "POST", "/it?size=5")
        assert "/it" in solved
    async with _client(_app(APIRoute, endpoint)) as theirs:
        assert told == await _told(theirs, "POST", "/it?size=5")
    assert told[0] == 200


async def test_where_fastapi_does_not_tell_what_it_would_solve_it_solves_it(monkeypatch):
    route = PreparedRoute("/it", _welcome)
    monkeypatch.delattr(routing, "_effective_route_context_var")
    assert prepared._tree(route) is None


# --- the service's own


@pytest.fixture
async def theirs(settings, redis, sender, monkeypatch) -> AsyncIterator[httpx.AsyncClient]:
    """Of the same app, with FastAPI's handlers."""
    monkeypatch.setattr(prepared, "_tree", lambda route: None)
    app = create_app(settings, redis=redis, sender=sender, sweep_s=0.05)
    app.openapi()  # makes the handlers
    monkeypatch.undo()
    async with app.router.lifespan_context(app), _client(app) as client:
        yield client


async def test_uploads_are_not_solved_anew(upload, answering, solved):
    answering()
    answer = await upload(params={"wait": "2"}, headers={"Prefer": "wait=1", "X-Client-Id": "c"})
    assert (answer.status_code, solved) == (200, [])


ASKED: list[tuple[str, list[tuple[bytes, bytes]]]] = [
    ("", []),
    ("?wait=false", []),
    ("?wait=false&wait=maybe", []),
    ("?wait=maybe&wait=false", []),
    ("?wait=", []),
    ("?wait=maybe&explain=maybe&deadline=-1", [(b"idempotency-key", b"")]),
    ("?explain=maybe", [(b"Idempotency-Key", b"k" * 256)]),
    ("?deadline=0", []),
    ("?deadline=nan", []),
    ("?deadline=inf&explain=yes", []),
    ("?deadline=1e3&explain=on", []),
    ("?explain=&wait=false", []),
    ("", [(b"prefer", b"respond-async"), (b"Prefer", b"wait=1")]),
    ("", [(b"prefer", b"\xff\xe9, respond-async")]),
    ("?wait=false", [(b"idempotency-key", b"\xe9\xff")]),
    ("?wait=false", [(b"idempotency-key", b"a"), (b"idempotency-key", b"b")]),
    ("?wait=false", [(b"x-client-id", b"\xc3\xa9")]),
    ("?Wait=maybe&EXPLAIN=maybe", [(b"idempotency_key", b"")]),
    ("?wait=%66alse&deadline=%31%30", []),
    ("?wait=\xff", []),
]


@pytest.mark.parametrize(("query", "headers"), ASKED)
async def test_an_upload_is_read_and_refused_as_fastapi_would(
    client, theirs, answering, query, headers
):
    answering()
    options = {"files": {"file": ("photo.jpg", image_bytes())}, "headers": headers}
    told = await _told(client, "POST", f"/upload_image{query}", **options)
    assert told == await _told(theirs, "POST", f"/upload_image{query}", **options)
    assert told[0] in (200, 202, 422)


async def test_a_refusal_names_all_that_is_wrong(client):
    wrong = {"explain": "maybe", "deadline": "-1", "wait": "maybe"}
    headers = {"Idempotency-Key": ""}
    answer = await client.post("/upload_image", params=wrong, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert answer.json()["detail"].split("; ") == [
        "query.explain: Input should be a valid boolean, unable to interpret input",
        "query.deadline: Input should be greater than 0",
        "header.idempotency-key: String should have at least 1 character",
    ]


@pytest.mark.parametrize("url", ["/upload_image", "/upload_images"])
async def test_a_stranger_hears_of_the_key_before_all_else(client, settings, url):
    key = add_key(settings.keys_file, "ana")
    for headers in ({}, {"X-API-Key": "wrong"}, {"Authorization": "Bearer wrong"}):
        answer = await client.post(url, params={"explain": "maybe"}, headers=headers)
        assert answer.status_code == 401
    answer = await client.post(url, params={"explain": "maybe"}, headers={"X-API-Key": key})
    assert answer.status_code == 422


async def test_the_description_is_the_one_of_fastapis_routes(client, theirs):
    ours = await client.get("/openapi.json")
    assert ours.content == (await theirs.get("/openapi.json")).content
