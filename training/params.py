"""`params.yaml`, checked: one section a stage, and nothing that no stage reads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from shared.model.manifest import Features, Precision, Preprocess


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DataParams(_Strict):
    #: synthetic photos to draw, where no folder of one's own is given
    count: int = Field(ge=20)
    seed: int = Field(ge=0)
    #: shares of the images, by class
    validation: float = Field(gt=0, lt=0.5)
    test: float = Field(gt=0, lt=0.5)


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


class TrainParams(_Strict):
    seed: int = Field(ge=0)
    #: units between features and logits; 0 is a linear head
    hidden: int = Field(ge=0)
    #: share of the features that a training step does not see
    dropout: float = Field(ge=0, lt=1)
    learning_rate: float = Field(gt=0)
    epochs: int = Field(ge=1)
    batch: int = Field(ge=1)
    #: the one with the least loss on the validation split is kept
    weight_decays: tuple[Annotated[float, Field(ge=0)], ...] = Field(min_length=1)


class EvaluateParams(_Strict):
    #: of the expected calibration error
    bins: int = Field(ge=2)


class ExportParams(_Strict):
    name: str
    #: seeds of the golden photos; even seeds are scratched
    goldens: tuple[int, ...] = Field(min_length=1)
    #: largest allowed difference of a golden logit, by precision
    tolerance: dict[Precision, float]


class Params(_Strict):
    data: DataParams
    embed: EmbedParams
    train: TrainParams
    evaluate: EvaluateParams
    export: ExportParams


def load_params(path: Path) -> Params:
    """Raises ValueError where the file says what no stage understands."""
    return Params.model_validate(yaml.safe_load(path.read_text()))
