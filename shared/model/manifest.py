"""`ckpts/<name>/manifest.json`: how to feed a checkpoint, what to expect of it, its checksums."""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from shared.errors import CheckpointError
from shared.model.labels import LABELS

MANIFEST = "manifest.json"
#: raised when an older reader would misunderstand a newer manifest
FORMAT: Literal[1] = 1

Precision = Literal["f32", "bf16", "f16", "int8"]
Triple = tuple[float, float, float]


def _inside(path: str) -> str:
    if "\0" in path or PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        raise ValueError("must lie inside the checkpoint folder")
    return path


File = Annotated[str, AfterValidator(_inside)]
#: neither a path nor one of open_clip's schemes such as `local-dir:`
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Backbone(_Strict):
    """An open_clip image tower: a built-in name, or one whose config lies beside the manifest."""

    model: Name
    config: File | None = None
    #: safetensors of the tower alone; without it, `tag` is looked up by open_clip on its hubs
    weights: File | None = None
    tag: Name | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Backbone:
        if (self.weights is None) == (self.tag is None):
            raise ValueError("a backbone has either a weights file or a pretrained tag")
        return self


class Preprocess(_Strict):
    """See `shared/model/views.py`; mean and std apply to values of 0..1, inside the graph."""

    #: side of a view in pixels
    size: int = Field(ge=32, le=2048)
    #: squash is ours; the others are open_clip's: shorter side to `size`, central square of it
    resize: Literal["squash", "crop_bilinear", "crop_bicubic"] = "squash"
    #: 1 is the whole image, 2 its four quarters, ...
    grids: tuple[Annotated[int, Field(ge=1, le=8)], ...] = Field((1,), min_length=1)
    #: of neighbouring tiles, as a share of their side
    overlap: float = Field(0.0, ge=0, le=0.5)
    mean: Triple
    std: Triple

    @model_validator(mode="after")
    def _one_crop(self) -> Preprocess:
        if self.resize != "squash" and self.grids != (1,):
            raise ValueError("resize crop_* shows the central square alone: grids must be [1]")
        return self

    @property
    def view_count(self) -> int:
        return sum(grid * grid for grid in self.grids)


class Features(_Strict):
    """Which maps of the tower are pooled (mean and maximum over positions) for the head."""

    #: indices into open_clip's `image_intermediates`
    depths: tuple[int, ...] = ()
    #: also the tower's own image embedding
    embedding: bool = True

    @model_validator(mode="after")
    def _not_empty(self) -> Features:
        if not (self.depths or self.embedding):
            raise ValueError("features are maps of some depths, the embedding, or both")
        return self


class Golden(_Strict):
    """An input and the logits that every runtime must reproduce before it serves."""

    file: File
    logits: tuple[float, float]


class Bound(_Strict):
    """A rate that is not exceeded, and the images that this is known from."""

    rate: float = Field(gt=0, lt=1)
    #: held out, of the class that it is about
    images: int = Field(ge=0)
    #: the fewest with which it can be said at all
    needed: int = Field(ge=1)

    @property
    def certified(self) -> bool:
        return self.images >= self.needed


class Certificate(_Strict):
    """Thresholds of the probability of scratches, and what each promises; see `ruling.py`."""

    #: that both promises hold
    confidence: float = Field(gt=0, lt=1)
    #: of scratched images, called clean
    missed: Bound
    #: of clean images, called scratched
    false_alarms: Bound
    #: of photos like those it was made from, sent to review as unlike them at most
    unlike: float = Field(gt=0, lt=1)
    #: None where it promises nothing; then no image is called so
    clean_below: float | None = Field(None, ge=0, le=1)
    #: above 1 where no probability would keep the promise
    scratched_from: float | None = Field(None, ge=0)

    @model_validator(mode="after")
    def _in_order(self) -> Certificate:
        if (self.clean_below is None) == self.missed.certified:
            raise ValueError("clean_below is there exactly where missed is certified")
        if (self.scratched_from is None) == self.false_alarms.certified:
            raise ValueError("scratched_from is there exactly where false_alarms is certified")
        if self.scratched_from is not None and (self.clean_below or 0) > self.scratched_from:
            raise ValueError("clean_below must not lie above scratched_from")
        return self


class Manifest(_Strict):
    format: Literal[1] = FORMAT
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    labels: tuple[str, str]
    backbone: Backbone
    preprocess: Preprocess
    features: Features
    #: safetensors, see `shared/model/classifier.py`
    head: File
    #: OpenVINO graphs (views in, logits out) by precision
    openvino: dict[Precision, File] = {}
    #: divides the logits before the softmax
    temperature: float = Field(1.0, gt=0)
    #: `scratches` from this probability on
    threshold: float = Field(0.5, gt=0, lt=1)
    goldens: tuple[Golden, ...] = Field(min_length=1)
    #: largest allowed difference of a golden logit, by precision of the runtime
    tolerance: dict[Precision, float]
    #: by precision of the runtime: its answers are the ones that were counted
    certificates: dict[Precision, Certificate] = {}
    #: what its photos were like, by precision, safetensors, see `shared/model/reference.py`
    references: dict[Precision, File] = {}
    #: on the test split
    metrics: dict[str, float] = {}
    #: what it was trained on, such as the hash and size of the data
    data: dict[str, str | int] = {}
    #: of every other file of the checkpoint, hex
    sha256: dict[File, str]

    @model_validator(mode="after")
    def _our_labels(self) -> Manifest:
        if self.labels != LABELS:
            raise ValueError(f"labels must be {LABELS}, in this order")
        return self

    @property
    def revision(self) -> str:
        """Changes whenever any answer could.

        Fields that came later count only where they are set: checkpoints of before keep theirs.
        """
        later = {name for name in ("certificates", "references") if not getattr(self, name)}
        said = self.model_dump_json(exclude={"metrics"} | later)
        return hashlib.sha256(said.encode()).hexdigest()[:12]

    @property
    def title(self) -> str:
        """How answers name this model: `scratch-lite@1f0c…`."""
        return f"{self.name}@{self.revision}"


def load_manifest(folder: Path) -> Manifest:
    """Raises CheckpointError unless the manifest is understood and every file is as it says."""
    try:
        text = (folder / MANIFEST).read_bytes()
    except OSError as error:
        raise CheckpointError(f"{folder} is no checkpoint: {error.strerror}: {MANIFEST}") from error
    try:
        manifest = Manifest.model_validate_json(text)
    except ValidationError as error:
        raise CheckpointError(f"{folder / MANIFEST}: {error}") from error
    _check_files(folder, manifest)
    return manifest


def _check_files(folder: Path, manifest: Manifest) -> None:
    for file in _named_files(manifest) - manifest.sha256.keys():
        raise CheckpointError(f"{folder}: the manifest has no checksum of {file}")
    for file, expected in manifest.sha256.items():
        try:
            found = sha256_of(folder / file)
        except OSError as error:
            raise CheckpointError(f"{folder / file}: {error.strerror}") from error
        if found != expected:
            raise CheckpointError(f"{folder / file} is not the file that the manifest describes")


def _named_files(manifest: Manifest) -> set[str]:
    files = {manifest.head, *manifest.openvino.values(), *(g.file for g in manifest.goldens)}
    files |= {str(Path(graph).with_suffix(".bin")) for graph in manifest.openvino.values()}
    files |= set(manifest.references.values())
    return files | {f for f in (manifest.backbone.config, manifest.backbone.weights) if f}


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
