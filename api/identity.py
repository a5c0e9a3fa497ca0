"""Who asks: API keys, where they are on. Handlers see the key's name, never the key."""

from __future__ import annotations

import hashlib
from typing import Annotated, cast

from fastapi import Depends, Header, Request
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from shared.errors import AccessError, NotReviewer, Unauthorized
from shared.keys import KeyRing
from shared.settings import Settings

_OPEN = (
    "without API keys the api listens on loopback only: make a key with `scratch keys add NAME`, "
    "or say SCRATCH_AUTH=off"
)
_bearer = HTTPBearer(auto_error=False, description="A key made by `scratch keys add`")
_header = APIKeyHeader(name="X-API-Key", auto_error=False, description="The same key")


class Gate:
    """Lets in who has a key; with `auth=auto` on loopback everybody, until there are keys."""

    def __init__(self, settings: Settings) -> None:
        """Raises AccessError when nobody, or everybody, would get in unasked."""
        self._auth = settings.auth
        self._keys = KeyRing(settings.keys_file)
        if settings.auth == "auto" and not (self._keys.exists or settings.on_loopback):
            raise AccessError(_OPEN)
        if settings.auth == "keys" and not self._keys.exists:
            raise AccessError(f"there are no API keys in {settings.keys_file}")

    def name_of(self, key: str | None) -> str | None:
        """The key's name; None where no key is asked for. Raises Unauthorized."""
        if self._auth == "off" or (self._auth == "auto" and not self._keys.exists):
            return None
        name = self._keys.name_of(key) if key else None
        if name is None:
            raise Unauthorized
        return name


async def _identified(
    request: Request,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    header: Annotated[str | None, Depends(_header)],
) -> None:
    gate = cast(Gate, request.app.state.gate)
    request.state.key_name = gate.name_of(bearer.credentials if bearer else header)


ClientId = Annotated[
    str | None, Header(description="Any name of your own: one client, one model of a trial")
]


def client_key(request: Request, client_id: str | None) -> str:
    """Opaque, the same for the same client; empty when neither header nor key names one."""
    key_name = getattr(request.state, "key_name", None)
    if not (key_name or client_id):
        return ""
    return hashlib.sha256(f"{key_name}\n{client_id}".encode()).hexdigest()[:16]


async def _reviewer(request: Request) -> None:
    """Raises NotReviewer."""
    name = request.state.key_name
    allowed = {
        who.strip() for who in cast(Settings, request.app.state.settings).reviewers.split(",")
    }
    if name is not None and not allowed & {name, "*"}:
        raise NotReviewer


Identified = Depends(_identified)
#: after `Identified`: may look through photos that others have sent
Reviewer = Depends(_reviewer)
