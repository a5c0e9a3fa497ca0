"""Links in mails, by which whoever gets the mail says what a photo shows: no login, no API key.

A link is the right to say one word about one task: signed, bound to both, for a week, once. The
secret is made by whoever needs it first and lies in Redis, which all of us share; deleting it ends
all links.

scratch:links:secret         random bytes
scratch:link:{id}:{action}   that this word was said by a link
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import Any, Literal, get_args

from itsdangerous import BadData, SignatureExpired, URLSafeTimedSerializer

from shared.errors import LinkExpired, LinkInvalid

#: what the photo shows, or that nobody can tell from it
Action = Literal["scratches", "no_scratches", "retake"]

ACTIONS: tuple[Action, ...] = get_args(Action)
LINKS_KEY = "scratch:links:secret"
#: seconds for which a link works
LINK_S = 7 * 86_400


def new_secret() -> str:
    return secrets.token_hex(32)


def used_key(link: Link) -> str:
    return f"scratch:link:{link.task_id}:{link.action}"


@dataclass(frozen=True, kw_only=True)
class Link:
    task_id: str
    action: Action
    #: what the service had answered
    prob_scratches: float


class Signer:
    def __init__(self, secret: str | bytes) -> None:
        self._serializer = URLSafeTimedSerializer(
            secret, salt="scratch.link", signer_kwargs={"digest_method": hashlib.sha256}
        )

    def token(self, link: Link) -> str:
        """Fit for a URL."""
        said = [link.task_id, link.action, round(link.prob_scratches, 4)]
        return str(self._serializer.dumps(said))

    def read(self, token: str) -> Link:
        """Raises LinkExpired or LinkInvalid."""
        try:
            said: Any = self._serializer.loads(token, max_age=LINK_S)
            task_id, action, prob_scratches = said
        except SignatureExpired:
            raise LinkExpired from None
        except (BadData, ValueError, TypeError):
            raise LinkInvalid from None
        return Link(task_id=task_id, action=action, prob_scratches=prob_scratches)
