from __future__ import annotations

import subprocess
import sys

from api.main import create_app


def test_two_apps_in_one_process(settings, redis, sender):
    apps = [create_app(settings, redis=redis, sender=sender) for _ in range(2)]
    assert apps[0].state.metrics is not apps[1].state.metrics


async def test_what_was_opened_is_closed(settings, redis, sender):
    app = create_app(settings, redis=redis, sender=sender)
    async with app.router.lifespan_context(app):
        assert not sender.closed
    assert sender.closed


async def test_it_starts_without_redis(settings):
    app = create_app(settings.model_copy(update={"redis_url": "redis://127.0.0.1:9/0"}))
    async with app.router.lifespan_context(app):
        assert app.state.service


def test_it_imports_no_model_runtime_and_no_worker():
    heavy = ("torch", "openvino", "cv2", "simplejpeg", "worker", "training", "shared.model")
    code = f"import sys, api.main; sys.exit(str(set({heavy!r}) & set(sys.modules) or ''))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert not run.stderr.strip()
