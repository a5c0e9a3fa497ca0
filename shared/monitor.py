"""The Celery app for operators' tools: `celery --app shared.monitor flower`. Loads no model."""

import os

from shared.broker import celery_app
from shared.settings import get_settings

settings = get_settings()
app = celery_app(settings, results=True)
if auth := settings.flower_auth.get_secret_value():
    # Flower's own variable: other users of the machine can read command lines.
    os.environ.setdefault("FLOWER_BASIC_AUTH", auth)
