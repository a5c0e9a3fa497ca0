"""`params.yaml`, checked: one section a stage, and nothing that no stage reads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from shared.model.manifest import Features, Precision, Preprocess

#: drawn photos: the stage `data` depends on the generator as it would on a folder
SYNTHETIC = "training/synthetic"


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DataParams(_Strict):
    #: the generator, or a folder with scratches/ and no_scratches/
    source: str = SYNTHETIC
    #: synthetic photos to draw
    count: int = Field(ge=20)
    seed: int = Field(ge=0)


class PrepareParams(_Strict):
    seed: int = Field(ge=0)
    #: shares of the images, by class
    validation: float = Field(gt=0, lt=0.5)
    test: float = Field(gt=0, lt=0.5)
    #: bits of 256 in which the perceptual hashes of near-duplicates differ at most
    near: int = Field(ge=0, lt=128)


class Tower(_Strict):
    """An open_clip image tower: a name and a pretrained tag, or a bare timm tower of our own."""

    #: the name in open_clip
    model: str
    tag: str | None = None
    #: timm's name of the tower; its weights come from `training.tower`
    timm: str | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Tower:
        if (self.tag is None) == (self.timm is None):
            raise ValueError("a tower has either a pretrained tag or the name of a timm tower")
        return self


class EmbedParams(_Strict):
    tower: Tower
    preprocess: Preprocess
    features: Features
    #: images of one forward pass
    batch: int = Field(ge=1)


class ThresholdParams(_Strict):
    """What the threshold is chosen for, on the validation split: one of the two."""

    #: of a missed scratch, in false alarms
    cost: float = Field(1.0, gt=0)
    #: share of the scratched photos to be found; rules over `cost`
    recall: float | None = Field(None, gt=0, le=1)


class RidgeParams(_Strict):
    """What `training.ridge` chooses from."""

    #: in numbers of features
    penalties: tuple[Annotated[float, Field(gt=0)], ...] = Field((0.1, 0.3, 1, 3), min_length=1)
    #: of the mean of a map beside its maximum
    mean_weights: tuple[Annotated[float, Field(ge=0, le=1)], ...] = Field(
        (1, 0.5, 0.25), min_length=1
    )


class TrainParams(_Strict):
    seed: int = Field(ge=0)
    ridge: RidgeParams = RidgeParams()
    #: training photos from which the validation split is held out from the head: then promises
    #: can be made on it (`certify`), and with fewer its photos teach more than they could prove
    hold_out: int = Field(500, ge=1)
    #: training photos from which layers trained step by step are tried, too
    large: int = Field(2000, ge=1)
    #: units between features and logits; 0 is a linear head
    hidden: int = Field(ge=0)
    #: share of the features that a training step does not see
    dropout: float = Field(ge=0, lt=1)
    learning_rate: float = Field(gt=0)
    epochs: int = Field(ge=1)
    batch: int = Field(ge=1)
    #: the one with the least loss on the validation split is kept
    weight_decays: tuple[Annotated[float, Field(ge=0)], ...] = Field(min_length=1)
    threshold: ThresholdParams = ThresholdParams()


class CertifyParams(_Strict):
    """What the answers should keep, and how surely; see `training/certify.py`."""

    #: of the scratched photos, called clean at most
    missed: float = Field(0.01, gt=0, lt=1)
    #: of the clean photos, called scratched at most
    false_alarms: float = Field(0.05, gt=0, lt=1)
    #: that both hold
    confidence: float = Field(0.95, gt=0, lt=1)
    #: of photos of the same kind, sent to review as unlike them at most
    unlike: float = Field(0.01, gt=0, lt=1)


class LimitsParams(_Strict):
    """What is drawn, and what counts as found."""

    #: shares of the photo's diagonal
    widths: tuple[float, ...] = tuple(round(2 ** (-step / 2) / 200, 6) for step in range(9))
    #: peak changes of brightness, as shares of the full range
    contrasts: tuple[float, ...] = (0.25, 0.5)
    #: share of the photo's shorter side
    length: float = Field(0.4, gt=0, le=1)
    #: scratches of each width and contrast, shared evenly among the photos
    trials: int = Field(120, ge=1)
    seed: int = Field(0, ge=0)
    recall: float = Field(0.9, gt=0, lt=1)
    confidence: float = Field(0.95, gt=0, lt=1)


class EvaluateParams(_Strict):
    #: of the expected calibration error
    bins: int = Field(ge=2)
    #: of the bootstrap
    resamples: int = Field(500, ge=10)
    #: mistakes of each kind that the report shows
    worst: int = Field(12, ge=0)
    #: scratches drawn on clean test photos; null leaves them out
    limits: LimitsParams | None = None


class Int8Params(_Strict):
    """int8 is shipped only if it loses no more than this on the validation split."""

    auroc: float = Field(ge=0)
    accuracy: float = Field(ge=0)
    #: training photos that the ranges of activations are taken from
    images: int = Field(ge=1)


class ExportParams(_Strict):
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    #: seeds of the golden photos; even seeds are scratched
    goldens: tuple[int, ...] = Field(min_length=1)
    #: largest allowed difference of a golden logit, by precision
    tolerance: dict[Precision, float]
    #: without it, none is made
    int8: Int8Params | None = None


class BuildParams(_Strict):
    """Of `make train` and `training.build` alone; the stages know nothing of it."""

    #: sizes of view that are tried beside that of `embed`, where the photos have the pixels
    finer: tuple[Annotated[int, Field(ge=32, le=2048)], ...] = ()


class Params(_Strict):
    build: BuildParams = BuildParams()
    data: DataParams
    prepare: PrepareParams
    embed: EmbedParams
    train: TrainParams
    certify: CertifyParams = CertifyParams()
    evaluate: EvaluateParams
    export: ExportParams


def load_params(path: Path) -> Params:
    """Raises ValueError where the file says what no stage understands.

    A preset says only what differs from its `base`, a file beside it.
    """
    return Params.model_validate(_read(path))


def _read(path: Path) -> Any:
    values = yaml.safe_load(path.read_text())
    if not isinstance(values, dict) or "base" not in values:
        return values
    return _laid_over(_read(path.parent / str(values.pop("base"))), values)


def _laid_over(base: Any, values: Any) -> Any:
    if not (isinstance(base, dict) and isinstance(values, dict)):
        return values
    return base | {name: _laid_over(base.get(name), value) for name, value in values.items()}
