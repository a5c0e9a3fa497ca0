"""From image to features, as files: the tower, how to feed it, and its OpenVINO graph.

Turning a tower into a graph takes longer than learning a head: it is done once, then kept.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import uuid
from pathlib import Path

import openvino as ov
from pydantic import BaseModel, ConfigDict

from shared.errors import CheckpointError
from shared.model import classifier
from shared.model.manifest import Backbone, Features, Manifest, Preprocess, load_manifest
from training import graph
from training.params import EmbedParams
from training.workspace import Workspace

SPEC, GRAPH = "extractor.json", "extractor.xml"
#: of a borrowed tower, where it has one
INT8 = "extractor-int8.xml"
_log = logging.getLogger(__name__)


class ExtractorSpec(BaseModel):
    """What a manifest says of the way from image to features."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    backbone: Backbone
    preprocess: Preprocess
    features: Features


def read_spec(folder: Path) -> ExtractorSpec:
    return ExtractorSpec.model_validate_json((folder / SPEC).read_text())


def identity_of(folder: Path, spec: ExtractorSpec) -> str:
    """Changes whenever any feature could."""
    digest = hashlib.sha256(spec.model_dump_json().encode() + code())
    if spec.backbone.weights:
        digest.update((folder / spec.backbone.weights).read_bytes())
    return digest.hexdigest()


def code() -> bytes:
    """Of what decides on views and features, beside params and weights."""
    folder = Path(classifier.__file__).parent
    names = ("classifier.py", "decode.py", "preprocess.py", "views.py")
    return b"".join((folder / name).read_bytes() for name in names)


def provide(params: EmbedParams, work: Workspace, base: Path | None = None) -> ExtractorSpec:
    """Fills `work.extractor` from the cache, where it is cut from the checkpoint `base` if that has
    this very tower, or made anew. Raises CheckpointError."""
    shutil.rmtree(work.extractor, ignore_errors=True)
    cache = work.cache / "extractors"
    kept = (_borrowed(params, base, cache) if base else None) or _made(params, cache)
    shutil.copytree(kept, work.extractor)
    return read_spec(work.extractor)


def _made(params: EmbedParams, cache: Path) -> Path:
    from training import tower  # it imports open_clip, which takes seconds

    sources = code() + Path(tower.__file__).read_bytes() + Path(graph.__file__).read_bytes()
    said = params.model_dump_json(exclude={"batch"}).encode()
    kept = cache / hashlib.sha256(said + sources).hexdigest()[:16]
    if not kept.is_dir():
        _log.info("turning %s into a graph, once", params.tower.model)
        made = cache / f".{uuid.uuid4().hex}"
        spec = tower.write_extractor(made, params)
        model = graph.to_openvino(tower.load_extractor(made, spec), spec.preprocess)
        graph.save_graph(model, made / GRAPH)
        made.rename(kept)
    return kept


def _borrowed(params: EmbedParams, base: Path, cache: Path) -> Path | None:
    """None where `base` has another tower than is asked for, or no graph to cut it from."""
    try:
        manifest = load_manifest(base)
    except CheckpointError:
        return None
    same = (
        (manifest.preprocess, manifest.features) == (params.preprocess, params.features)
        and manifest.backbone.model == params.tower.model
        and manifest.backbone.tag == params.tower.tag
    )
    if not same:
        return None
    said = manifest.revision.encode() + Path(graph.__file__).read_bytes()
    kept = cache / hashlib.sha256(said).hexdigest()[:16]
    if kept.is_dir():
        return kept
    made = cache / f".{uuid.uuid4().hex}"
    if not _cut(made, manifest, base):
        return None
    made.rename(kept)
    return kept


def _cut(folder: Path, manifest: Manifest, base: Path) -> bool:
    """Takes the head off; whether there was one to be seen."""
    graphs = {str(n): ov.Core().read_model(base / file) for n, file in manifest.openvino.items()}
    cut = {name: graph.without_head(model) for name, model in graphs.items()}
    if cut.get("f32") is None:
        return False
    folder.mkdir(parents=True)
    for name, file in (("f32", GRAPH), ("int8", INT8)):
        if cut.get(name) is not None:
            graph.save_graph(cut[name], folder / file)
    for file in filter(None, (manifest.backbone.config, manifest.backbone.weights)):
        shutil.copy(base / file, folder / file)
    spec = ExtractorSpec(
        backbone=manifest.backbone, preprocess=manifest.preprocess, features=manifest.features
    )
    (folder / SPEC).write_text(spec.model_dump_json(indent=1))
    return True
