"""The api keeps what /openapi.json promises: schemathesis asks, a fake worker answers."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import fakeredis
import pytest
import schemathesis
import uvicorn
from hypothesis import settings as examples
from hypothesis import strategies as st
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import negative_data_rejection

from api.main import create_app
from api.server import uvicorn_options
from shared.contract import InspectJob
from shared.keys import add_key
from shared.records import WORKERS_KEY, Heartbeat
from shared.settings import Settings
from tests.fakes_api import FakeSender, FakeWorker, image_bytes, outcome

# One photo: another one under an Idempotency-Key of before is refused, and rightly so.
schemathesis.openapi.format("binary", st.just(image_bytes()))
# Most addresses are refused, by rules that a schema cannot tell.
schemathesis.openapi.format("callback-url", st.just("https://hooks.example.com/scratch"))


class Answering(FakeSender):
    """Finishes every other task at once; the rest stay queued, so that they can be cancelled."""

    def __init__(self, worker: FakeWorker) -> None:
        super().__init__()
        self._worker = worker

    async def send(self, job: InspectJob) -> None:
        await super().send(job)
        if len(self.jobs) % 2:
            await self._worker.finish(outcome(job.id))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Its URL, and an API key."""
    settings = Settings(
        _env_file=None, data_dir=tmp_path_factory.mktemp("data"), queue_limit=10**6,
        wait_s=0.1, wait_max_s=0.1, webhook_secret="whsec_" + "c2VjcmV0" * 4,
    )  # fmt: skip
    key = add_key(settings.keys_file, "schemathesis")
    store = fakeredis.FakeServer()
    redis = fakeredis.FakeAsyncRedis(server=store)
    beat = Heartbeat(name="w1@host", model="m@1", variant="v", pid=1, beat_at=time.time() + 3600)
    fakeredis.FakeRedis(server=store).hset(WORKERS_KEY, beat.name, beat.model_dump_json())
    app = create_app(settings, redis=redis, sender=Answering(FakeWorker(redis)), sweep_s=0.05)
    server = uvicorn.Server(uvicorn.Config(app, **{**uvicorn_options(settings), "port": 0}))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", key
    server.should_exit = True
    thread.join()


def _described() -> Any:
    app = create_app(
        Settings(_env_file=None), redis=fakeredis.FakeAsyncRedis(), sender=FakeSender()
    )
    return schemathesis.openapi.from_dict(
        app.openapi(), config=SchemathesisConfig.from_dict({"seed": 1})
    )


schema = _described()


@schema.parametrize()
@examples(max_examples=25, deadline=None, derandomize=True)
def test_every_answer_is_one_that_was_promised(
    case: schemathesis.Case, service: tuple[str, str]
) -> None:
    url, key = service
    body = case.body if isinstance(case.body, dict) else {}
    # A list of addresses has no form of its own: with none or one in it, it is what is allowed.
    unseen = isinstance(body.get("callback_url"), list)
    case.call_and_validate(
        base_url=url,
        headers={"Authorization": f"Bearer {key}"},
        timeout=10,
        excluded_checks=[negative_data_rejection] if unseen else [],
    )
