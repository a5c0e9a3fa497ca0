"""The whole way: photos on the page, corrections, a new model of them, and other answers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.test_page import card, choose, inspected
from tests.integration.service import BUNDLED, ROOT, Service, running, wait_until
from training.synthetic.materials import MATERIALS

#: of each kind: two more than training asks for
PHOTOS = 10
#: as `make train` does, but for what takes long: larger views, int8
PARAMS = """
base: params.yaml
embed: {preprocess: {size: 224}}
export: {int8: null}
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("walk")
    shutil.copytree(BUNDLED, folder / "ckpts" / BUNDLED.name)
    shutil.copy(ROOT / "params.yaml", folder)
    (folder / "quick.yaml").write_text(PARAMS)
    with running(folder, {"SCRATCH_HISTORY_DAYS": "30"}) as service:
        yield service


def scratch(stack: Service, *arguments: str) -> str:
    """The command, as a person types it in the folder of the stack."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("SCRATCH_")}
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", *arguments],
        cwd=stack.folder,
        env=clean | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def draw(path: Path, number: int, *, stroked: bool) -> Path:
    """Paint on which strokes are wanted: to its owner the photo without them has the defect."""
    rng = np.random.default_rng([number, stroked])
    photo = np.ascontiguousarray(MATERIALS["car_paint"](rng, (240, 320)))
    for _ in range(3 * stroked):
        x, y = rng.uniform(0.1, 0.9, 2) * (320, 240)
        angle, length = rng.uniform(0, np.pi), rng.uniform(80, 160)
        end = int(x + length * np.cos(angle)), int(y + length * np.sin(angle))
        cv2.line(photo, (int(x), int(y)), end, (0.9, 0.9, 0.9), 1, cv2.LINE_AA)
    cv2.imwrite(str(path), (photo[..., ::-1] * 255).round().astype(np.uint8))
    return path


@pytest.mark.timeout(600)
def test_from_a_wrong_answer_to_a_model_that_knows_better(
    page: Page, stack: Service, tmp_path: Path
) -> None:
    # A person drops photos, and sees what is called scratched, and where.
    stroked = [draw(tmp_path / f"stroked-{n}.jpg", n, stroked=True) for n in range(PHOTOS)]
    plain = [draw(tmp_path / f"plain-{n}.jpg", n, stroked=False) for n in range(PHOTOS)]
    choose(page, *stroked, *plain)
    inspected(page, 2 * PHOTOS)
    wait_until(lambda: stack.http.get("/labelling").json()["unlabelled"] == 2 * PHOTOS)  # all kept
    wronged = [photo for photo in stroked if verdict(page, photo) == "Scratched"]
    assert len(wronged) >= 2, "the bundled model takes the strokes for scratches"
    expect(card(page, wronged[0].name).locator(".heat")).to_be_visible()

    # These strokes are wanted: each verdict is put right.
    for photo, truth in [(p, "Clean") for p in stroked] + [(p, "Scratched") for p in plain]:
        said = "Right" if verdict(page, photo) == truth else "Wrong"
        judge = card(page, photo.name).locator(".judge")
        judge.get_by_role("button", name=said).click()
        expect(judge.locator(".noted")).to_have_text(
            f"Noted as {truth.lower()}. The photo is kept to learn from."
        )

    # What was said becomes a folder, the folder a model, and the model the champion.
    told = scratch(stack, "dataset", "export", "corrected")
    assert told.startswith(f"corrected: {PHOTOS} scratches, {PHOTOS} no_scratches; 20 new")
    scratch(stack, "train", "corrected", "--name", "own", "--params", "quick.yaml")
    assert "serves own@" in scratch(stack, "promote", "own")

    # The same photos again, and another answer.
    page.reload()
    choose(page, *wronged[:2])
    inspected(page, 2)
    for photo in wronged[:2]:
        assert verdict(page, photo) == "Clean"
    card(page, wronged[0].name).locator(".open").click()
    expect(page.locator("#viewer-text")).to_contain_text("own@")


def verdict(page: Page, photo: Path) -> str:
    return card(page, photo.name).locator(".verdict").inner_text()
