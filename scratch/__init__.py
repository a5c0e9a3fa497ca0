"""Client of the scratch detector's HTTP service.

import scratch

with scratch.Client("http://127.0.0.1:8000") as client:
    print(client.predict("photo.jpg").pred)
"""

from scratch.answers import Feedback, Inspection, Where
from scratch.async_client import AsyncClient
from scratch.client import Client
from scratch.errors import (
    BadSignature,
    NotTheService,
    Refused,
    ScratchError,
    ServiceUnreachable,
    TimedOut,
)
from scratch.protocol import Photo
from scratch.webhook import Told, verify_webhook

__all__ = [
    "AsyncClient",
    "BadSignature",
    "Client",
    "Feedback",
    "Inspection",
    "NotTheService",
    "Photo",
    "Refused",
    "ScratchError",
    "ServiceUnreachable",
    "TimedOut",
    "Told",
    "Where",
    "verify_webhook",
]
