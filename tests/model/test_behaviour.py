"""What the bundled checkpoint must be able to do, on the runtime that serves it by default."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest

from shared.model.decode import Pixels
from shared.model.inspector import Inspector, open_inspector
from shared.model.labels import LABELS, SCRATCHES
from shared.model.manifest import load_manifest
from training.synthetic import ScratchSpec, render

CKPT = Path(__file__).parents[2] / "ckpts" / "scratch-lite"
#: seen at once: wide, long, strong, whatever its shade
OBVIOUS = ScratchSpec(width=5, contrast=0.55, length=0.75)
MATERIALS = ("brushed_metal", "car_paint", "plastic", "glass")
#: far from every seed of the training set and of the goldens
FIRST_SEED = 1_000_000
needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="torch, the reference, is not installed"
)


@pytest.fixture(scope="module")
def inspector() -> Inspector:
    return open_inspector(CKPT, runtime="openvino", precision="f32")


def png(pixels: Pixels) -> bytes:
    return _encode(".png", pixels)


def jpeg(pixels: Pixels, quality: int) -> bytes:
    return _encode(".jpg", pixels, cv2.IMWRITE_JPEG_QUALITY, quality)


def _encode(suffix: str, pixels: Pixels, *options: int) -> bytes:
    done, data = cv2.imencode(suffix, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), options)
    assert done
    return data.tobytes()


@cache
def photo(seed: int, *, scratched: bool, material: str | None = None) -> Pixels:
    rng = np.random.default_rng(FIRST_SEED + seed)
    spec = OBVIOUS if scratched else None
    return render(rng, scratched=scratched, material=material, spec=spec).image


def label_of(inspector: Inspector, pixels: Pixels) -> str:
    return inspector.inspect(png(pixels)).pred


def probability_of(inspector: Inspector, pixels: Pixels) -> float:
    return inspector.inspect(png(pixels)).prob_scratches


@pytest.fixture(scope="module")
def clear(inspector: Inspector) -> list[Pixels]:
    """Photos that leave no doubt: what follows is about changes, not about hard cases."""
    photos = [photo(s, scratched=flag) for s in range(6) for flag in (True, False)]
    sure = [p for p in photos if abs(probability_of(inspector, p) - 0.5) > 0.4]
    assert len(sure) >= 8
    return sure


def test_goldens_are_answered_as_labelled(inspector: Inspector) -> None:
    for golden in inspector.manifest.goldens:
        label = LABELS[int(np.argmax(golden.logits))]
        assert Path(golden.file).name.startswith(f"{label}_")
        assert inspector.inspect((CKPT / golden.file).read_bytes()).pred == label


CHANGES: dict[str, Callable[[Pixels], Pixels]] = {
    "mirrored": lambda p: p[:, ::-1].copy(),
    "upside down": lambda p: p[::-1].copy(),
    "a little brighter": lambda p: cv2.convertScaleAbs(p, alpha=1.05),
    "a little darker": lambda p: cv2.convertScaleAbs(p, alpha=0.95),
    "JPEG at 85": lambda p: cv2.imdecode(
        np.frombuffer(jpeg(p, 85), np.uint8), cv2.IMREAD_COLOR_RGB
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_shows_no_other_surface_changes_no_label(
    inspector: Inspector, clear: list[Pixels], change: str
) -> None:
    for pixels in clear:
        assert label_of(inspector, CHANGES[change](pixels)) == label_of(inspector, pixels)


@pytest.mark.parametrize("seed", range(100, 110))
def test_a_scratch_raises_the_probability(inspector: Inspector, seed: int) -> None:
    """Both photos are of one scene, one camera and one noise: only the scratch differs."""
    clean, scratched = (photo(seed, scratched=flag) for flag in (False, True))
    assert probability_of(inspector, scratched) > probability_of(inspector, clean)


@pytest.mark.parametrize("material", MATERIALS)
def test_each_material_has_a_minimum_of_right_answers(inspector: Inspector, material: str) -> None:
    """20 obvious scratches, and 20 clean photos with what the generator puts on them: seams,
    hairs, reflections, print."""
    right = [
        label_of(inspector, photo(seed, scratched=flag, material=material))
        == LABELS[SCRATCHES if flag else 1 - SCRATCHES]
        for seed in range(200, 220)
        for flag in (True, False)
    ]
    assert np.mean(right) >= 0.9


def test_neighbours_in_a_batch_change_nothing(inspector: Inspector) -> None:
    views = np.stack(
        [inspector.preprocess(png(photo(seed, scratched=seed % 2 == 0))) for seed in range(8)]
    )
    together = inspector.forward(views)
    alone = np.concatenate([inspector.forward(one[None]) for one in views])
    np.testing.assert_allclose(together, alone, atol=1e-3)


@needs_torch
def test_openvino_answers_as_torch(inspector: Inspector) -> None:
    reference = open_inspector(CKPT, runtime="torch", precision="f32")
    views = np.stack(
        [inspector.preprocess(png(photo(seed, scratched=seed % 2 == 0))) for seed in range(8)]
    )
    tolerance = inspector.manifest.tolerance["f32"]
    np.testing.assert_allclose(inspector.forward(views), reference.forward(views), atol=tolerance)


@needs_torch
def test_training_and_serving_see_the_same(inspector: Inspector, tmp_path: Path) -> None:
    """The features of the training stage, put through the head, are what serving answers."""
    import torch

    from shared.model.classifier import Head, load_classifier
    from training.dataset import Index
    from training.embed import embed
    from training.extractor import ExtractorSpec
    from training.rowcache import RowCache

    manifest = load_manifest(CKPT)
    spec = ExtractorSpec(
        backbone=manifest.backbone, preprocess=manifest.preprocess, features=manifest.features
    )
    extractor = load_classifier(CKPT, manifest).extractor
    extract = torch.inference_mode()(lambda views: extractor(torch.from_numpy(views)).numpy())
    files = {f"{seed}.jpg": jpeg(photo(seed, scratched=True), 90) for seed in range(3)}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    images = [
        {"file": name, "label": "scratches", "sha256": name, "split": "train"} for name in files
    ]
    index = Index.model_validate({"root": tmp_path, "images": images})
    rows = embed(index, spec, extract, RowCache(tmp_path / "rows"), batch=2)
    head = Head.from_file(CKPT / manifest.head)
    for name, data in files.items():
        with torch.inference_mode():
            trained_on = head(torch.from_numpy(rows[name]))
        served = inspector.forward(inspector.preprocess(data)[None])[0]
        np.testing.assert_allclose(served, trained_on, atol=manifest.tolerance["f32"])


def test_its_probabilities_are_probabilities(inspector: Inspector) -> None:
    for seed in range(4):
        verdict = inspector.inspect(png(photo(seed, scratched=seed % 2 == 0)))
        assert math.isclose(verdict.prob_scratches + verdict.prob_no_scratches, 1)
        assert 0 < verdict.prob_scratches < 1


def test_the_manifest_promises_what_the_project_aims_at() -> None:
    metrics = load_manifest(CKPT).metrics
    assert metrics["auroc"] >= 0.98
    assert metrics["ece"] <= 0.05


def test_it_is_small_enough_to_live_in_the_repository() -> None:
    ckpts = CKPT.parent
    assert sum(f.stat().st_size for f in ckpts.rglob("*") if f.is_file()) <= 22 * 2**20
