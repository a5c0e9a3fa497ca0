"""What the head saw of an image, as it is kept: half as many bytes, comparable within one space."""

from __future__ import annotations

import hashlib

import numpy as np

from shared.model.evidence import Floats
from shared.model.manifest import Manifest, Precision

#: the largest of float16
_MOST = 65504.0


def tower_of(manifest: Manifest) -> tuple[object, ...]:
    """Equal for checkpoints whose features are equal."""
    backbone = manifest.backbone
    files = [manifest.sha256[file] for file in (backbone.config, backbone.weights) if file]
    return backbone.model, backbone.tag, files, manifest.preprocess, manifest.features


def embedding_space(manifest: Manifest, precision: Precision) -> str:
    """Names tower, views, features and precision; embeddings of other spaces do not compare."""
    said = repr(tower_of(manifest)).encode()
    return f"{hashlib.sha256(said).hexdigest()[:16]}/{precision}"


def packed(features: Floats) -> bytes:
    """float16, little-endian."""
    return np.clip(features, -_MOST, _MOST).astype("<f2").tobytes()


def unpacked(embeddings: list[bytes]) -> Floats:
    """[images, features], of embeddings of one space."""
    return np.stack([np.frombuffer(data, "<f2") for data in embeddings]).astype(np.float32)
