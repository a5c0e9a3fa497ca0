"""Promotion while photos keep coming: nothing fails, and no answer is of a mixture."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import Result
from typer.testing import CliRunner

from cli.main import app
from shared.model.inspector import Inspector, open_inspector
from shared.settings import get_settings
from shared.trials import TrialStore
from tests.checkpoints import tiny_checkpoint, tiny_variant
from tests.integration.service import Service, running, wait_until
from tests.photos import jpeg

pytestmark = pytest.mark.timeout(300)  # on a busy machine the fixtures alone take a minute

PHOTOS = [jpeg(seed) for seed in range(6)]


@pytest.fixture(scope="module")
def ckpts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All answer differently; `new` looks at photos through other views, and `cousin` has the
    tower of `old`."""
    folder = tmp_path_factory.mktemp("ckpts")
    old = tiny_checkpoint(folder / "old", openvino=True, name="old")
    tiny_variant(old, folder / "new", name="new", factor=-0.7, resize="crop_bilinear")
    tiny_variant(old, folder / "cousin", name="cousin", factor=-0.4, resize="squash")
    return folder


@pytest.fixture(scope="module")
def service(ckpts: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    settings = {
        "SCRATCH_CKPTS": str(ckpts),
        "SCRATCH_CKPT": str(ckpts / "old"),
        "SCRATCH_PRECISION": "f32",  # whose answers are equal whatever else is in the batch
    }
    with running(tmp_path_factory.mktemp("stack"), settings) as service:
        yield service


def scratch(service: Service, ckpts: Path, *words: str) -> Result:
    """The command as an operator runs it beside the stack."""
    get_settings.cache_clear()
    settings = {
        "SCRATCH_DATA_DIR": str(service.folder / ".data"), "SCRATCH_CKPTS": str(ckpts),
        "SCRATCH_RUNTIME": "openvino", "SCRATCH_PRECISION": "f32", "REDIS_URL": None,
    }  # fmt: skip
    try:
        return CliRunner().invoke(app, words, env=settings)
    finally:
        get_settings.cache_clear()


@dataclass
class Load:
    """Uploads from several threads until it is told to stop."""

    service: Service
    answers: list[tuple[int, httpx.Response]] = field(default_factory=list)
    _enough: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Load:
        self._pool = ThreadPoolExecutor(4)
        self._threads = [self._pool.submit(self._send) for _ in range(4)]
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._pool.shutdown()
        for thread in self._threads:
            thread.result()

    def _send(self) -> None:
        while not self._enough.is_set():
            number = len(self.answers) % len(PHOTOS)
            self.answers.append((number, self.service.upload(PHOTOS[number])))

    def models(self) -> list[str]:
        return [answer.headers["x-model"] for _, answer in self.answers]


def check_every_answer(load: Load, models: dict[str, Inspector]) -> None:
    expected = {
        (title, number): model.inspect(photo).prob_scratches
        for title, model in models.items()
        for number, photo in enumerate(PHOTOS)
    }
    for number in range(len(PHOTOS)):
        by_model = [expected[title, number] for title in models]
        assert max(by_model) - min(by_model) > 1e-2, "the answers must tell the models apart"
    for number, answer in load.answers:
        assert answer.status_code == 200, answer.text
        found = answer.json()["prob_scratches"]
        assert found == pytest.approx(expected[answer.headers["x-model"], number], abs=1e-4)


def test_a_promotion_under_load_fails_and_mixes_nothing(service: Service, ckpts: Path) -> None:
    old, new = (open_inspector(ckpts / name, runtime="openvino") for name in ("old", "new"))
    titles = [old.manifest.title, new.manifest.title]
    with Load(service) as load:
        wait_until(lambda: len(load.answers) > 20)
        promoted = scratch(service, ckpts, "promote", "new")
        assert promoted.exit_code == 0, promoted.output
        with Load(service) as later:  # while what was asked for before may still be under way
            wait_until(lambda: len(later.answers) > 20)

    assert f"champion: {titles[1]}" in promoted.stdout
    assert f"serves {titles[1]}" in promoted.stdout
    assert titles[0] in load.models()
    assert set(later.models()) == {titles[1]}
    differences = [
        abs(old.inspect(p).prob_scratches - new.inspect(p).prob_scratches) for p in PHOTOS
    ]
    assert min(differences) > 1e-2, "the two models must be told apart by their answers"
    for answers in (load, later):
        check_every_answer(answers, dict(zip(titles, (old, new), strict=True)))


def test_a_tampered_checkpoint_leaves_the_old_model_serving_and_says_why(
    service: Service, ckpts: Path
) -> None:
    before = service.upload(PHOTOS[0])
    elsewhere = service.folder / "mine"
    for folder in (ckpts / "spoilt", elsewhere / "spoilt"):
        shutil.copytree(ckpts / "new", folder)
        manifest = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps(manifest | {"name": "spoilt"}))
    (ckpts / "spoilt" / "head.safetensors").write_bytes(b"tampered with")

    refused = scratch(service, ckpts, "promote", "spoilt")
    here_only = scratch(service, elsewhere, "promote", "spoilt")

    # Here the operator's copy is the spoilt one; there it is sound, and only the worker's is not.
    assert refused.exit_code == 2
    assert "head.safetensors is not the file" in refused.stderr
    assert here_only.exit_code == 1
    assert "head.safetensors is not the file" in here_only.stdout
    (worker,) = service.workers()
    assert worker["model"] == before.headers["x-model"]
    assert "head.safetensors is not the file" in worker["behind"]
    after = service.upload(PHOTOS[0])
    assert (after.json(), after.headers["x-model"]) == (before.json(), before.headers["x-model"])


def test_rolling_back_serves_the_champion_before(service: Service, ckpts: Path) -> None:
    assert scratch(service, ckpts, "promote", "old").exit_code == 0
    assert scratch(service, ckpts, "promote", "new").exit_code == 0

    back = scratch(service, ckpts, "promote", "--back")

    assert back.exit_code == 0, back.output
    assert service.upload(PHOTOS[0]).headers["x-model"].startswith("old@")
    assert "celery@" in scratch(service, ckpts, "models").stdout


@pytest.mark.parametrize("name", ["cousin", "new"])
def test_a_shadow_judges_every_photo_and_answers_none(
    service: Service, ckpts: Path, name: str
) -> None:
    """`cousin` on the champion's own forward pass, `new` with one of its own."""
    assert scratch(service, ckpts, "promote", "old").exit_code == 0
    challenger = open_inspector(ckpts / name, runtime="openvino")
    started = scratch(service, ckpts, "ab", "start", name, "--shadow")
    assert started.exit_code == 0, started.output
    assert f"beside it {challenger.manifest.title}" in started.output

    tasks = {}
    for number, photo in enumerate(PHOTOS):
        answer = service.upload(photo)
        assert answer.headers["x-model"].startswith("old@")
        tasks[answer.headers["x-task-id"]] = number
    store = TrialStore(service.redis)
    trial = report(service, ckpts)["trial"]
    wait_until(lambda: report(service, ckpts)["judged_by_both"] == len(PHOTOS))

    for task_id, ballot in store.read(trial).ballots.items():
        expected = challenger.inspect(PHOTOS[tasks[task_id]])
        assert ballot.challenger
        assert ballot.challenger.prob_scratches == pytest.approx(expected.prob_scratches, abs=1e-4)
        assert scratch(service, ckpts, "ab", "label", task_id, expected.pred).exit_code == 0
    found = report(service, ckpts)
    assert found["challenger"]["right"] == found["challenger"]["labelled"] == len(PHOTOS)
    assert found["counts"] == {}
    assert "verdict" in scratch(service, ckpts, "ab", "report").output
    assert scratch(service, ckpts, "ab", "stop").exit_code == 0
    assert scratch(service, ckpts, "ab", "report").exit_code == 2
    assert scratch(service, ckpts, "ab", "report", "--trial", trial).exit_code == 0


def test_a_split_gives_each_client_one_model(service: Service, ckpts: Path) -> None:
    assert scratch(service, ckpts, "promote", "old").exit_code == 0
    models = [open_inspector(ckpts / name, runtime="openvino") for name in ("old", "new")]
    started = scratch(service, ckpts, "ab", "start", "new", "--share", "0.5")
    assert started.exit_code == 0, started.output

    load = Load(service)
    by_client: dict[str, set[str]] = {}
    for client in (f"client-{n}" for n in range(24)):
        for number in range(2):
            answer = service.http.post(
                "/upload_image",
                files={"file": ("a.jpg", PHOTOS[number])},
                headers={"X-Client-Id": client},
            )
            load.answers.append((number, answer))
            by_client.setdefault(client, set()).add(answer.headers["x-model"])

    check_every_answer(load, {model.manifest.title: model for model in models})
    assert {len(models) for models in by_client.values()} == {1}
    assert set(load.models()) == {model.manifest.title for model in models}
    wait_until(lambda: images(report(service, ckpts)) == 48)
    assert scratch(service, ckpts, "promote", "new").exit_code == 0
    assert scratch(service, ckpts, "ab", "stop").exit_code == 2, "a promotion ends the trial"


def report(service: Service, ckpts: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(scratch(service, ckpts, "ab", "report", "--json").stdout)
    return found


def images(report: dict[str, Any]) -> int:
    return int(report["champion"]["images"] + report["challenger"]["images"])


def test_a_worker_that_starts_anew_serves_the_champion(service: Service, ckpts: Path) -> None:
    assert scratch(service, ckpts, "promote", "new").exit_code == 0
    worker = service.program("worker.app")
    worker.kill()
    wait_until(lambda: any(beat["pid"] != worker.pid for beat in beats(service)))

    assert service.upload(PHOTOS[0]).headers["x-model"].startswith("new@")


def beats(service: Service) -> list[dict[str, Any]]:
    return [json.loads(beat) for beat in service.redis.hvals("scratch:workers")]
