"""From the title of a model to an inspector that has proven itself here and is warm."""

from __future__ import annotations

from shared.errors import CheckpointError
from shared.model.inspector import Inspector, open_inspector
from shared.model.preprocess import ImageLimits
from shared.settings import Settings


class Opener:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def __call__(self, title: str | None) -> Inspector:
        """None is this worker's own SCRATCH_CKPT. Raises CheckpointError."""
        settings = self._settings
        folder = settings.ckpts / title.split("@")[0] if title else settings.ckpt
        inspector = open_inspector(
            folder,
            runtime=settings.runtime,
            precision=settings.precision,
            threads=settings.threads,
            limits=ImageLimits(settings.image_max_pixels, settings.image_max_side),
        )
        if title and inspector.manifest.title != title:
            raise CheckpointError(f"{folder} holds {inspector.manifest.title}, not {title}")
        # Every batch size has its own compiled kernels; no task must pay for them.
        for size in range(1, settings.max_batch + 1):
            inspector.warm_up(size)
        return inspector
