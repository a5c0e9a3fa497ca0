"""From the title of a model to an inspector that has proven itself here and is warm."""

from __future__ import annotations

from pathlib import Path

from shared.errors import CheckpointError
from shared.model.inspector import Inspector, open_inspector
from shared.model.preprocess import ImageLimits
from shared.model.shared_tower import SharedTower
from shared.settings import Settings


class Opener:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def open(self, title: str | None) -> Inspector:
        """None is this worker's own SCRATCH_CKPT. Raises CheckpointError."""
        settings = self._settings
        folder = self._folder(title) if title else settings.ckpt
        inspector = open_inspector(
            folder,
            runtime=settings.runtime,
            precision=settings.precision,
            threads=settings.threads,
            streams=settings.streams,
            limits=ImageLimits(settings.image_max_pixels, settings.image_max_side),
        )
        if title:
            _check_title(folder, inspector, title)
        inspector.warm_up(settings.max_batch or inspector.runtime.batch)
        return inspector

    def share(self, champion: Inspector, title: str) -> SharedTower:
        """Raises CheckpointError when the two have no tower in common."""
        folder = self._folder(title)
        tower = SharedTower(champion, folder)
        _check_title(folder, tower.challenger, title)
        return tower

    def _folder(self, title: str) -> Path:
        return self._settings.ckpts / title.split("@")[0]


def _check_title(folder: Path, inspector: Inspector, title: str) -> None:
    if inspector.manifest.title != title:
        raise CheckpointError(f"{folder} holds {inspector.manifest.title}, not {title}")
