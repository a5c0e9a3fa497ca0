"""Golden photos: drawn, and looked at by the tower on torch, the reference of all runtimes.

Both are kept by tower: a new head on a known tower draws nothing and opens no tower.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from shared.model.classifier import FeatureExtractor, Head
from shared.model.evidence import Floats
from shared.model.manifest import Golden, Preprocess
from shared.model.preprocess import ImageLimits
from shared.model.preprocess import preprocess as to_views
from training import synthetic
from training.synthetic import ScratchSpec, render

FOLDER = "golden"
_FEATURES = "features.npy"
_SIZE = (240, 320)
_SCRATCH = ScratchSpec(width=3, contrast=0.55, length=0.75)


def draw(folder: Path, seeds: Sequence[int]) -> list[Path]:
    """One photo a seed. Odd seeds become PNG, for both ways of decoding."""
    folder.mkdir(parents=True)
    photos = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        scene = render(rng, scratched=seed % 2 == 0, size=_SIZE, spec=_SCRATCH)
        photos.append(folder / f"{scene.label}_{seed}.{'png' if seed % 2 else 'jpg'}")
        cv2.imwrite(str(photos[-1]), cv2.cvtColor(scene.image, cv2.COLOR_RGB2BGR))
    return photos


def features_of(
    photos: Sequence[Path], extractor: FeatureExtractor, preprocess: Preprocess
) -> Floats:
    """[photos, features]"""
    rows = []
    for photo in photos:
        views = to_views(photo.read_bytes(), preprocess, ImageLimits())
        with torch.inference_mode():
            rows.append(extractor(torch.from_numpy(views[None]))[0].numpy())
    return np.stack(rows)


def answered(photos: Sequence[Path], features: Floats, head: Head) -> tuple[Golden, ...]:
    """What the checkpoint has to reproduce; the files lie in its folder FOLDER."""
    with torch.inference_mode():
        logits = head(torch.from_numpy(features)).tolist()
    return tuple(
        Golden(file=f"{FOLDER}/{photo.name}", logits=(round(first, 5), round(second, 5)))
        for photo, (first, second) in zip(photos, logits, strict=True)
    )


def kept(
    cache: Path,
    identity: str,
    seeds: Sequence[int],
    preprocess: Preprocess,
    extractor: Callable[[], FeatureExtractor],
) -> tuple[list[Path], Floats]:
    """Photos, and features of the tower of this identity; `extractor` opens it where needed."""
    said = f"{_code()} {identity} {list(seeds)}"
    folder = cache / hashlib.sha256(said.encode()).hexdigest()[:16]
    if not folder.is_dir():
        made = cache / f".{uuid.uuid4().hex}"
        photos = draw(made, seeds)
        np.save(made / _FEATURES, features_of(photos, extractor(), preprocess))
        made.rename(folder)
    by_seed = {int(p.stem.rsplit("_", 1)[1]): p for p in folder.iterdir() if p.name != _FEATURES}
    return [by_seed[seed] for seed in seeds], np.load(folder / _FEATURES)


def _code() -> str:
    """Of what decides how a photo looks."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for file in sorted(Path(synthetic.__file__).parent.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()
