"""Verdicts, drift and recall in a running stack, with a small certified model."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from shared.images import open_image
from shared.model.inspector import open_inspector
from shared.model.manifest import MANIFEST, Certificate, sha256_of
from shared.model.reference import input_statistics
from tests.checkpoints import tiny_checkpoint, tiny_variant
from tests.integration.service import ROOT, Service, running, wait_until
from tests.photos import encoded, gradient, jpeg
from training.profile import principal, profile

WINDOW = 64
#: for the certificate and the reference; what is sent has later seeds
KNOWN = 400
BOUND = "missed scratches at most 5 %, 95 % confidence, from n = 99 held-out images"

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


def certified(folder: Path) -> Path:
    """A tiny checkpoint with a certificate, half of its photos clean, and a true reference."""
    tiny_checkpoint(folder, openvino=True)
    inspector = open_inspector(folder)
    images = [jpeg(seed) for seed in range(KNOWN)]
    views = [inspector.preprocess(image) for image in images]
    found = inspector.embed(np.stack(views))
    features = np.stack([one.features for one in found if one.features is not None])
    scratched = np.array([inspector.postprocess(one.logits).prob_scratches for one in found])
    inputs = [
        input_statistics(view, int(np.prod(open_image(image).size)))
        for view, image in zip(views, images, strict=True)
    ]
    half = KNOWN // 2
    reference = profile(
        principal(features[:half]),
        features[half:],
        np.array(inputs[half:], np.float32),
        scratched[half:],
        threshold=inspector.manifest.threshold,
        unlike=0.01,
    )
    reference.save(folder / "reference.safetensors")
    middle = float(np.median(scratched))
    certificate = Certificate.model_validate(
        {
            "confidence": 0.95,
            "unlike": 0.01,
            "missed": {"rate": 0.05, "images": 99, "needed": 99},
            "false_alarms": {"rate": 0.05, "images": 99, "needed": 99},
            "clean_below": middle,
            "scratched_from": middle,
        }
    )
    fields = json.loads((folder / MANIFEST).read_text())
    fields["certificates"] = {"f32": certificate.model_dump()}
    fields["references"] = {"f32": "reference.safetensors"}
    fields["sha256"]["reference.safetensors"] = sha256_of(folder / "reference.safetensors")
    (folder / MANIFEST).write_text(json.dumps(fields))
    return folder


@pytest.fixture(scope="module")
def ckpts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ckpts")
    certified(folder / "tiny")
    tiny_variant(folder / "tiny", folder / "other", name="other", factor=-1.0, resize="squash")
    return folder


@pytest.fixture(scope="module")
def environment(ckpts: Path) -> dict[str, str]:
    return {
        "SCRATCH_CKPTS": str(ckpts),
        "SCRATCH_CKPT": str(ckpts / "tiny"),
        "SCRATCH_HISTORY_DAYS": "1",
        "SCRATCH_DRIFT_WINDOW": str(WINDOW),
    }


@pytest.fixture(scope="module")
def stack(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    with running(tmp_path_factory.mktemp("verdict"), environment) as service:
        yield service


@pytest.fixture
def scratch(stack: Service, environment: dict[str, str]) -> Any:
    """The command line, beside the stack."""

    def run(*arguments: str) -> str:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("SCRATCH_")}
        clean.pop("REDIS_URL", None)
        done = subprocess.run(
            [sys.executable, "-m", "cli.main", *arguments],
            cwd=stack.folder,
            env={**clean, "PYTHONPATH": str(ROOT), **environment, "SCRATCH_RUNTIME": "openvino"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def view(stack: Service, image: bytes) -> dict[str, Any]:
    answer = stack.upload(image)
    assert answer.json().keys() == {"pred", "prob_no_scratches", "prob_scratches"}
    found: dict[str, Any] = stack.http.get(f"/tasks/{answer.headers['x-task-id']}").json()
    return found


def test_a_task_has_its_verdict_and_what_that_promises(stack: Service) -> None:
    found = [view(stack, jpeg(seed)) for seed in range(KNOWN, KNOWN + 20)]

    by_verdict = {one["verdict"]: one for one in found}
    assert {"clean", "scratched"} <= by_verdict.keys()
    assert by_verdict["clean"]["bound"] == BOUND
    assert by_verdict["clean"]["result"]["prob_scratches"] < min(
        one["result"]["prob_scratches"] for one in found if one["verdict"] == "scratched"
    )


def test_what_the_model_has_never_seen_is_for_a_person(stack: Service) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    found = view(stack, encoded(Image.fromarray(noise), "PNG"))

    assert (found["verdict"], found["reason"]) == ("review", "unlike")


def states(scratch: Any) -> list[tuple[str, int]]:
    return [(w["state"], w["windows"]) for w in json.loads(scratch("drift", "--json"))["workers"]]


def send(stack: Service, scratch: Any, state: str, windows: int, **blur: float) -> None:
    """Photos like the known ones, or blurred, until a worker reports so many such windows."""
    seeds = iter(range(2 * KNOWN, 9 * KNOWN))

    def reported() -> bool:
        for _ in range(WINDOW):
            photo = gradient(seed=next(seeds))
            if blur:
                photo = photo.filter(ImageFilter.GaussianBlur(blur["radius"]))
            assert stack.upload(encoded(photo, quality=90)).is_success
        return any(s == state and n >= windows for s, n in states(scratch))

    wait_until(reported, patience_s=200)


def test_a_blurred_camera_is_told_and_holds_retraining_back(stack: Service, scratch: Any) -> None:
    send(stack, scratch, "steady", 1)
    send(stack, scratch, "camera", 2, radius=2.0)

    assert "sharpness" in scratch("drift")
    assert scratch("retrain", "--if-drift").startswith("not retraining: held back: the camera")
    assert "drift: celery@" in stack.log("worker")


def test_another_model_recalls_what_this_one_passed(
    stack: Service, scratch: Any, ckpts: Path
) -> None:
    passed = view(stack, jpeg(9 * KNOWN))
    wait_until(lambda: passed["task_id"] in scratch("recall", "--model", "other"))

    rows = list(csv.DictReader(scratch("recall", "--model", "other").splitlines()))

    row = next(row for row in rows if row["task_id"] == passed["task_id"])
    assert row["pred"] == passed["result"]["pred"] != row["now_pred"]
    expected = open_inspector(ckpts / "other").inspect(jpeg(9 * KNOWN)).prob_scratches
    assert float(row["now_prob_scratches"]) == pytest.approx(expected, abs=0.01)
