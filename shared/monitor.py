"""The Celery app for operators' tools: `celery --app shared.monitor flower`. Loads no model."""

from shared.broker import celery_app
from shared.settings import get_settings

app = celery_app(get_settings(), results=True)
