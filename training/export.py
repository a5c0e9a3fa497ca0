"""Stage `export`: a checkpoint folder that workers open, proven on every runtime before it exists.

Nothing in it may name the machine that made it.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import openvino as ov
import torch

from shared.model.classifier import Classifier, Head
from shared.model.inspector import open_inspector
from shared.model.labels import LABELS
from shared.model.manifest import (
    MANIFEST,
    Certificate,
    Golden,
    Manifest,
    Precision,
    Preprocess,
    load_manifest,
    sha256_of,
)
from shared.model.preprocess import ImageLimits
from shared.model.preprocess import preprocess as to_views
from shared.model.runtime import RuntimeName
from training import certify
from training.dataset import load_index
from training.extractor import GRAPH as EXTRACTOR
from training.extractor import read_spec
from training.features import Features
from training.graph import save_graph, with_head
from training.params import ExportParams
from training.quantise import Int8Report, int8_extractor, judge
from training.synthetic import ScratchSpec, render
from training.tower import load_extractor
from training.train import Calibration
from training.workspace import Workspace, stage_parser, start

HEAD, GRAPH, GRAPH_INT8 = "head.safetensors", "model-f32.xml", "model-int8.xml"
REFERENCE = "reference.safetensors"
_GOLDEN_SIZE = (240, 320)
_GOLDEN_SCRATCH = ScratchSpec(width=3, contrast=0.55, length=0.75)
_log = logging.getLogger(__name__)


def write_golden(folder: Path, seed: int, model: Classifier, preprocess: Preprocess) -> Golden:
    """Draws a photo and keeps what the reference answers for it. Odd seeds become PNG, for both
    ways of decoding."""
    scene = render(
        np.random.default_rng(seed),
        scratched=seed % 2 == 0,
        size=_GOLDEN_SIZE,
        spec=_GOLDEN_SCRATCH,
    )
    path = folder / "golden" / f"{scene.label}_{seed}.{'png' if seed % 2 else 'jpg'}"
    path.parent.mkdir(exist_ok=True)
    cv2.imwrite(str(path), cv2.cvtColor(scene.image, cv2.COLOR_RGB2BGR))
    views = to_views(path.read_bytes(), preprocess, ImageLimits())
    with torch.inference_mode():
        logits = model(torch.from_numpy(views[None]))[0]
    no_scratches, scratches = (round(value, 5) for value in logits.tolist())
    return Golden(file=path.relative_to(folder).as_posix(), logits=(no_scratches, scratches))


def export(
    folder: Path, params: ExportParams, work: Workspace
) -> tuple[Manifest, Int8Report | None]:
    """Writes the checkpoint into an empty folder; what int8 would lose, where it was asked for."""
    spec = read_spec(work.extractor)
    shutil.copy(work.head, folder / HEAD)
    for file in filter(None, (spec.backbone.config, spec.backbone.weights)):
        shutil.copy(work.extractor / file, folder / file)
    model = Classifier(load_extractor(folder, spec), Head.from_file(folder / HEAD)).eval()
    goldens = tuple(write_golden(folder, seed, model, spec.preprocess) for seed in params.goldens)
    graphs: dict[Precision, str] = {}
    graphs["f32"] = _with_head(work.extractor / EXTRACTOR, model.head, folder / GRAPH)
    index = load_index(work.index)
    report = None
    if params.int8:
        features = Features.load(work.features)
        graph = int8_extractor(params.int8, work, index, spec, features.identity)
        report = judge(graph, params.int8, work, index, spec, features, model.head)
        _log.info("int8 %s: %s", "shipped" if report.shipped else "left out", report)
    calibration = Calibration.model_validate_json(work.calibration.read_text())
    promised = Certificate.model_validate_json(work.certificate.read_text())
    certificates: dict[Precision, Certificate] = {"f32": promised}
    if report and report.shipped:
        graphs["int8"] = _with_head(graph, model.head, folder / GRAPH_INT8)
        certificates["int8"] = certify.of_graph(
            graph, promised, work, index, spec, features, model.head, calibration
        )
    if work.reference.exists():
        shutil.copy(work.reference, folder / REFERENCE)
    manifest = Manifest(
        name=params.name,
        labels=LABELS,
        backbone=spec.backbone,
        preprocess=spec.preprocess,
        features=spec.features,
        head=HEAD,
        openvino=graphs,
        temperature=round(calibration.temperature, 5),
        threshold=round(calibration.threshold, 5),
        goldens=goldens,
        tolerance=params.tolerance,
        certificates=certificates,
        reference=REFERENCE if work.reference.exists() else None,
        metrics=json.loads(work.metrics.read_text()),
        data={"sha256": index.hash, "images": len(index.images)},
        sha256=checksums(folder),
    )
    seal(folder, manifest)
    return manifest, report


def _with_head(extractor: Path, head: Head, graph: Path) -> str:
    save_graph(with_head(ov.Core().read_model(extractor), head), graph)
    return graph.name


def checksums(folder: Path) -> dict[str, str]:
    """Of every file of a checkpoint, before its manifest is written."""
    files = sorted(filter(Path.is_file, folder.rglob("*")))
    return {file.relative_to(folder).as_posix(): sha256_of(file) for file in files}


def seal(folder: Path, manifest: Manifest) -> None:
    """Writes the manifest, and lets everybody read the checkpoint."""
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=1) + "\n")
    for path in filter(Path.is_file, folder.rglob("*")):
        path.chmod(0o644)  # safetensors writes for the owner alone; a worker may be somebody else


def run(params: ExportParams, work: Workspace, out: Path) -> Path:
    """`out`/NAME, replaced only when the new checkpoint opens on torch and on OpenVINO.

    Raises CheckpointError when it does not.
    """
    out.mkdir(parents=True, exist_ok=True)
    target = out / params.name
    with TemporaryDirectory(dir=out, prefix=".export-") as made:
        folder = Path(made) / params.name
        folder.mkdir()
        _, report = export(folder, params, work)
        found: dict[str, object] = {"golden_difference": prove(folder)}
        if report:
            found["int8"] = report.model_dump()
        work.exported.write_text(json.dumps(found, indent=1) + "\n")
        shutil.rmtree(target, ignore_errors=True)
        folder.rename(target)
    return target


def prove(folder: Path) -> dict[str, float]:
    """The largest difference of a golden logit, by runtime and precision.

    Raises CheckpointError unless it is within the tolerance on torch and OpenVINO.
    """
    found = {}
    ways: list[tuple[RuntimeName, Precision]] = [("torch", "f32"), ("openvino", "f32")]
    if "int8" in load_manifest(folder).openvino:
        ways.append(("openvino", "int8"))
    for runtime, precision in ways:
        inspector = open_inspector(folder, runtime=runtime, precision=precision)
        worst = inspector.prove()
        _log.info("%s on %s: goldens within %.5f", inspector.manifest.title, runtime, worst)
        found[f"{runtime}_{precision}"] = round(worst, 5)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = stage_parser(__doc__)
    parser.add_argument("--out", type=Path, default=Path("ckpts"))
    options, params, work = start(parser, arguments)
    run(params.export, work, options.out)


if __name__ == "__main__":
    main()
