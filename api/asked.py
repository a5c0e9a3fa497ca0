"""What a client asks with an upload. Admission comes before the body is read.

One dependency for all of a request's parameters: FastAPI takes longer to solve a dozen small ones
than everything else that the api does with an upload takes.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Header, Query, Request
from starlette.datastructures import UploadFile

from api.fairness import spend
from api.identity import ClientId, client_key
from api.service import InspectionService, Options
from api.uploads import batch_of, read_many, read_one
from api.waits import SAYS, WAIT_PATTERN, Wait, no_wait, query_wait, wait_of_prefer
from shared.settings import Settings

#: for the description alone; `api.waits` reads
_NO_PATTERN = {"pattern": r"^([Ff][Aa][Ll][Ss][Ee]|0{1,9}(\.0{1,9})?)$"}

_Wait = Annotated[
    str | None,
    Query(description=f"{SAYS}; without it, as configured", json_schema_extra=WAIT_PATTERN),
]
_Prefer = Annotated[
    list[str] | None, Header(description="RFC 7240: `respond-async` and `wait=SECONDS`")
]
_NoWait = Annotated[
    str,
    Query(description="Only `false`: a batch is never waited for", json_schema_extra=_NO_PATTERN),
]
_Explain = Annotated[
    bool, Query(description="Also keep where the evidence lies: `/tasks/{id}/heatmap.png`")
]
_Key = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        description="A text of the client's own; sent again with the same image, it is answered"
        " with the same task",
    ),
]
_Deadline = Annotated[
    float | None,
    Query(
        gt=0,
        allow_inf_nan=False,
        description="Seconds after which the answer is worth nothing: what cannot be done by then "
        "is refused at once, what is not done by then is dropped",
    ),
]


@dataclass(frozen=True, kw_only=True)
class AskedOne:
    image: bytes
    options: Options
    wait: Wait


@dataclass(frozen=True, kw_only=True)
class AskedMany:
    images: list[UploadFile]
    options: Options


async def _one(
    request: Request,
    wait: _Wait = None,
    prefer: _Prefer = None,
    explain: _Explain = False,
    idempotency_key: _Key = None,
    deadline: _Deadline = None,
    x_client_id: ClientId = None,
) -> AskedOne:
    settings = cast(Settings, request.app.state.settings)
    waits = wait_of_prefer(prefer or [], settings) if wait is None else query_wait(wait, settings)
    await _admit(request, deadline)
    upload = await read_one(request, settings)
    options = _options(request, explain, idempotency_key, deadline, x_client_id)
    return AskedOne(image=upload.image, options=options.calling(upload.callback_url), wait=waits)


async def _many(
    request: Request,
    wait: _NoWait = "false",
    explain: _Explain = False,
    idempotency_key: _Key = None,
    deadline: _Deadline = None,
    x_client_id: ClientId = None,
) -> AsyncIterator[AskedMany]:
    settings = cast(Settings, request.app.state.settings)
    no_wait(wait, settings)
    await _admit(request, deadline)
    form = await read_many(request, settings)
    try:
        batch = batch_of(form, settings)
        await spend(request, len(batch.files) - 1)
        options = _options(request, explain, idempotency_key, deadline, x_client_id)
        yield AskedMany(images=batch.files, options=options.calling(batch.callback_url))
    finally:
        await form.close()


One = Annotated[AskedOne, Depends(_one)]
Many = Annotated[AskedMany, Depends(_many)]


async def _admit(request: Request, deadline_s: float | None) -> None:
    """Raises RateLimited or Unavailable."""
    await spend(request, 1)
    declared = request.headers.get("content-length", "")
    size = int(declared) if declared.isdecimal() else 0
    service = cast(InspectionService, request.app.state.service)
    await service.admit(size=size, deadline_s=deadline_s)


def _options(
    request: Request,
    explain: bool,
    idempotency_key: str | None,
    deadline_s: float | None,
    client_id: str | None,
) -> Options:
    owner = getattr(request.state, "key_name", None) or ""
    once = idempotency_key and hashlib.sha256(f"{owner}\0{idempotency_key}".encode()).hexdigest()
    client = client_key(request, client_id)
    return Options(explain=explain, once=once, deadline_s=deadline_s, client=client)
