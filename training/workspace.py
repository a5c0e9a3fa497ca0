"""Where stages leave their files for the next: one folder, one name a file.

Beside it a cache of what was computed for single images and towers; every run may use it, and
nothing is lost with it but time.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from training.params import Params, load_params


@dataclass(frozen=True)
class Workspace:
    root: Path
    #: of `data`: scratches/ and no_scratches/
    images: Path = Path("classification_dataset")
    #: shared between workspaces
    cache: Path = Path(".data/cache")

    @property
    def index(self) -> Path:
        """Of `prepare`: every image with label, checksum and split."""
        return self.root / "index.json"

    @property
    def prepared(self) -> Path:
        """Of `prepare`: counts of what was kept and dropped."""
        return self.root / "prepared.json"

    @property
    def extractor(self) -> Path:
        """Of `embed`: the tower as it will be shipped, and how to feed it."""
        return self.root / "extractor"

    @property
    def features(self) -> Path:
        """Of `embed`: a row an image."""
        return self.root / "features.npz"

    @property
    def head(self) -> Path:
        """Of `train`: the head's tensors."""
        return self.root / "head.safetensors"

    @property
    def calibration(self) -> Path:
        """Of `train`: temperature, and how the head was found."""
        return self.root / "calibration.json"

    @property
    def certificate(self) -> Path:
        """Of `certify`: two thresholds, and what they promise."""
        return self.root / "certificate.json"

    @property
    def reference(self) -> Path:
        """Of `certify`: what the photos were like; not there where none was held out."""
        return self.root / "reference.safetensors"

    @property
    def metrics(self) -> Path:
        """Of `evaluate`: on the test split."""
        return self.root / "metrics.json"

    @property
    def plots(self) -> Path:
        """Of `evaluate`: roc, precision_recall, reliability, confusion and limits, each a CSV."""
        return self.root / "plots"

    @property
    def predictions(self) -> Path:
        """Of `evaluate`: a row a test photo."""
        return self.root / "predictions.csv"

    @property
    def report(self) -> Path:
        """Of `evaluate`: everything for people, in one file."""
        return self.root / "report.html"

    @property
    def exported(self) -> Path:
        """Of `export`: parity with the reference by precision, and what int8 loses."""
        return self.root / "exported.json"


def stage_parser(description: str | None) -> argparse.ArgumentParser:
    """The options that every stage has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--work", type=Path, default=Path("pipeline"))
    return parser


def start(
    parser: argparse.ArgumentParser, arguments: Sequence[str] | None
) -> tuple[argparse.Namespace, Params, Workspace]:
    """Reads the command line and params.yaml, makes the folder, and lets the stages be heard."""
    options = parser.parse_args(arguments)
    listen(logging.INFO)
    options.work.mkdir(parents=True, exist_ok=True)
    return options, load_params(options.params), Workspace(options.work)


def listen(level: int) -> None:
    """Lets the stages be heard. The root stays quiet: open_clip talks there, of random weights."""
    logging.getLogger().addHandler(logging.NullHandler())
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    for name in ("training", "__main__"):
        logger = logging.getLogger(name)
        logger.setLevel(level)
        logger.addHandler(handler)
