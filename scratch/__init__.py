"""Client of the scratch detector's HTTP service.

import scratch

with scratch.Client("http://127.0.0.1:8000") as client:
    print(client.predict("photo.jpg").pred)
"""

from scratch.answers import Inspection, Where
from scratch.async_client import AsyncClient
from scratch.client import Client
from scratch.errors import NotTheService, Refused, ScratchError, ServiceUnreachable, TimedOut
from scratch.protocol import Photo

__all__ = [
    "AsyncClient",
    "Client",
    "Inspection",
    "NotTheService",
    "Photo",
    "Refused",
    "ScratchError",
    "ServiceUnreachable",
    "TimedOut",
    "Where",
]
