"""For whoever receives what an upload's `callback_url` is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from standardwebhooks import Webhook, WebhookVerificationError

from scratch.answers import Inspection, inspection_of
from scratch.errors import BadSignature, Refused


@dataclass(frozen=True)
class Told:
    """The end of a task. It may be told more than once: `task_id` is the same then."""

    task_id: str
    #: the answer, or why there is none
    outcome: Inspection | Refused


def verify_webhook(headers: Mapping[str, str], body: bytes, secret: str) -> Told:
    """What the service tells; `body` as it was received, byte by byte.

    Raises BadSignature, also for what was signed more than five minutes ago.
    """
    try:
        view = Webhook(secret).verify(body, dict(headers))
        if view["status"] == "done":
            return Told(view["task_id"], inspection_of(view))
        error = view["error"]
        return Told(view["task_id"], Refused(error["code"], error["message"]))
    except WebhookVerificationError as error:
        raise BadSignature(str(error)) from error
    except (ValueError, KeyError, TypeError) as error:
        raise BadSignature("This is not what the service sends.") from error
