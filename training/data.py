"""Stage `data`: the folder of labelled photos, drawn or copied from a folder of one's own."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

from shared.model.labels import LABELS
from training.dataset import DataError
from training.params import SYNTHETIC, DataParams
from training.synthetic import write_dataset
from training.workspace import Workspace, stage_parser, start

_log = logging.getLogger(__name__)


def run(params: DataParams, work: Workspace) -> Path:
    """Makes `work.images` anew. Raises DataError where the source is no such folder."""
    if params.source != SYNTHETIC:
        check_folder(Path(params.source))
    shutil.rmtree(work.images, ignore_errors=True)
    if params.source == SYNTHETIC:
        _log.info("drawing %d photos into %s", params.count, work.images)
        write_dataset(work.images, params.count, params.seed)
    else:
        for label in LABELS:
            shutil.copytree(Path(params.source) / label, work.images / label)
    return work.images


def check_folder(folder: Path) -> None:
    """Raises DataError unless there is a folder of each class."""
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder")
    missing = [label for label in LABELS if not (folder / label).is_dir()]
    if missing:
        found = sorted(path.name for path in folder.iterdir() if path.is_dir())[:5]
        raise DataError(
            f"{folder} has no folder {' and no '.join(f'{label}/' for label in missing)}"
            f" (it has {', '.join(f'{name}/' for name in found) or 'no folders'}); "
            f"put photos with scratches into scratches/ and all others into no_scratches/"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    _, params, work = start(stage_parser(__doc__), arguments)
    run(params.data, work)


if __name__ == "__main__":
    main()
