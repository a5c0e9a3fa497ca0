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

import openvino as ov

from shared.model.classifier import FeatureExtractor, Head
from shared.model.inspector import Inspector
from shared.model.labels import LABELS
from shared.model.manifest import (
    MANIFEST,
    Certificate,
    Golden,
    Manifest,
    Precision,
    load_manifest,
    sha256_of,
)
from shared.model.preprocess import ImageLimits
from shared.model.runtime import RuntimeName, open_runtime
from training import certify, goldens
from training.dataset import load_index
from training.extractor import GRAPH as EXTRACTOR
from training.extractor import ExtractorSpec, read_spec
from training.features import Features
from training.graph import save_graph, with_head
from training.params import ExportParams
from training.quantise import Int8Report, int8_extractor, judge
from training.train import Calibration
from training.workspace import Workspace, stage_parser, start

HEAD, GRAPH, GRAPH_INT8 = "head.safetensors", "model-f32.xml", "model-int8.xml"
REFERENCE, REFERENCE_INT8 = "reference-f32.safetensors", "reference-int8.safetensors"
_log = logging.getLogger(__name__)


def export(
    folder: Path, params: ExportParams, work: Workspace
) -> tuple[Manifest, Int8Report | None]:
    """Writes the checkpoint into an empty folder; what int8 would lose, where it was asked for."""
    spec = read_spec(work.extractor)
    shutil.copy(work.head, folder / HEAD)
    for file in filter(None, (spec.backbone.config, spec.backbone.weights)):
        shutil.copy(work.extractor / file, folder / file)
    head, features = Head.from_file(folder / HEAD), Features.load(work.features)
    graphs: dict[Precision, str] = {}
    graphs["f32"] = _with_head(work.extractor / EXTRACTOR, head, folder / GRAPH)
    index = load_index(work.index)
    report = None
    if params.int8:
        graph = int8_extractor(params.int8, work, index, spec, features.identity)
        report = judge(graph, params.int8, work, index, spec, features, head)
        _log.info("int8 %s: %s", "shipped" if report.shipped else "left out", report)
    calibration = Calibration.model_validate_json(work.calibration.read_text())
    promised = Certificate.model_validate_json(work.certificate.read_text())
    certificates: dict[Precision, Certificate] = {"f32": promised}
    references: dict[Precision, str] = {}
    if report and report.shipped:
        graphs["int8"] = _with_head(graph, head, folder / GRAPH_INT8)
        held_out = certify.HeldOut(index, work, features, head, calibration)
        certificates["int8"], reference = certify.of_graph(graph, promised, held_out, spec)
        if reference:
            references["int8"] = REFERENCE_INT8
            reference.save(folder / REFERENCE_INT8)
    if work.reference.exists():
        references["f32"] = REFERENCE
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
        goldens=_goldens(folder, params.goldens, work, spec, features.identity, head),
        tolerance=params.tolerance,
        certificates=certificates,
        references=references,
        metrics=json.loads(work.metrics.read_text()),
        data={"sha256": index.hash, "images": len(index.images)},
        sha256=checksums(folder),
    )
    seal(folder, manifest)
    return manifest, report


def _goldens(
    folder: Path,
    seeds: Sequence[int],
    work: Workspace,
    spec: ExtractorSpec,
    identity: str,
    head: Head,
) -> tuple[Golden, ...]:
    def extractor() -> FeatureExtractor:
        from training.tower import load_extractor  # open_clip takes seconds

        return load_extractor(folder, spec)

    photos, seen = goldens.kept(work.cache / "goldens", identity, seeds, spec.preprocess, extractor)
    for photo in photos:
        copy = folder / goldens.FOLDER / photo.name
        copy.parent.mkdir(exist_ok=True)
        shutil.copyfile(photo, copy)
    return goldens.answered(photos, seen, head)


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
    """`out`/NAME, replaced only when OpenVINO answers there as torch did. Raises CheckpointError
    when it does not.
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


def prove(folder: Path, *, torch: bool = False) -> dict[str, float]:
    """The largest difference of a golden logit, by runtime and precision.

    Raises CheckpointError unless it is within the tolerance. `torch`, whose answers the goldens
    are, is asked again where they were not made of the files in `folder`.
    """
    manifest = load_manifest(folder)
    ways: list[tuple[RuntimeName, Precision]] = [("openvino", n) for n in manifest.openvino]
    if torch:
        ways.insert(0, ("torch", "f32"))
    found = {}
    for runtime, precision in ways:
        opened = open_runtime(folder, manifest, name=runtime, precision=precision)
        worst = Inspector(folder, manifest, opened, ImageLimits()).prove()
        _log.info("%s on %s: goldens within %.5f", manifest.title, runtime, worst)
        found[f"{runtime}_{precision}"] = round(worst, 5)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = stage_parser(__doc__)
    parser.add_argument("--out", type=Path, default=Path("ckpts"))
    options, params, work = start(parser, arguments)
    run(params.export, work, options.out)


if __name__ == "__main__":
    main()
