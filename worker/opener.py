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
            limits=ImageLimits(settings.image_max_pixels, settings.image_max_side),
        )
        if title:
            _check_title(folder, inspector, title)
        self._warm_up(inspector)
        return inspector

    def share(self, champion: Inspector, title: str) -> SharedTower:
        """Raises CheckpointError when the two have no tower in common."""
        folder = self._folder(title)
        tower = SharedTower(champion, folder)
        _check_title(folder, tower.challenger, title)
        self._warm_up(tower.challenger)
        return tower

    def _folder(self, title: str) -> Path:
        return self._settings.ckpts / title.split("@")[0]

    def _warm_up(self, inspector: Inspector) -> None:
        """Every batch size has its own compiled kernels; no task must pay for them.

        The largest first: the others then fit into its buffers, which saves a third of the memory.
        """
        for size in range(self._settings.max_batch, 0, -1):
            inspector.warm_up(size)


def _check_title(folder: Path, inspector: Inspector, title: str) -> None:
    if inspector.manifest.title != title:
        raise CheckpointError(f"{folder} holds {inspector.manifest.title}, not {title}")
