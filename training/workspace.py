"""Where stages leave their files for the next: one folder, one name a file."""

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

    @property
    def images(self) -> Path:
        """Of `data`: the synthetic photos, scratches/ and no_scratches/."""
        return self.root / "images"

    @property
    def index(self) -> Path:
        """Of `data`: every image with label, checksum and split."""
        return self.root / "index.json"

    @property
    def extractor(self) -> Path:
        """Of `embed`: the tower as it will be shipped, and how to feed it."""
        return self.root / "extractor"

    @property
    def features(self) -> Path:
        """Of `embed`: a row an image; also the cache of the next run."""
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


def stage_parser(description: str | None) -> argparse.ArgumentParser:
    """The options that every stage has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--work", type=Path, default=Path(".data/training"))
    return parser


def start(
    parser: argparse.ArgumentParser, arguments: Sequence[str] | None
) -> tuple[argparse.Namespace, Params, Workspace]:
    """Reads the command line and params.yaml, makes the folder, and lets the stages be heard."""
    options = parser.parse_args(arguments)
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    for name in ("training", "__main__"):  # the root stays quiet: open_clip talks there
        logging.getLogger(name).setLevel(logging.INFO)
    options.work.mkdir(parents=True, exist_ok=True)
    return options, load_params(options.params), Workspace(options.work)
