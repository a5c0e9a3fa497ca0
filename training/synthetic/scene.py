"""One labelled photo: surface, markings, perhaps scratches, clutter, camera, in that order."""

from dataclasses import dataclass

import numpy as np

from training.synthetic.arrays import Image, Mask, Photo, Rng, Size, pick
from training.synthetic.camera import photograph
from training.synthetic.distractors import paint_clutter, paint_markings, sample_layout
from training.synthetic.materials import MATERIALS
from training.synthetic.scratches import ScratchSpec, sample_spec, scratch_scene

SCRATCHED, UNSCRATCHED = "scratches", "no_scratches"
SIZES: tuple[Size, ...] = ((480, 640), (640, 480), (600, 600), (480, 720), (720, 480), (600, 800))
_HIDDEN = 0.5  # opacity from which clutter hides a scratch
_SCRATCH_COUNTS = (0.5, 0.25, 0.15, 0.1)  # probabilities of 1, 2, 3 and 4 scratches


@dataclass(frozen=True)
class Scene:
    image: Photo
    mask: Mask
    label: str
    material: str
    scratches: tuple[ScratchSpec, ...]
    distractors: tuple[str, ...]


def _branch(rng: Rng, count: int) -> list[Rng]:
    """Independent streams, so that scratching a scene changes nothing else about it."""
    return [np.random.default_rng(int(rng.integers(2**63))) for _ in range(count)]


def _draw_scratches(
    image: Image, rng: Rng, spec: ScratchSpec | None
) -> tuple[tuple[ScratchSpec, ...], Mask]:
    size = (image.shape[0], image.shape[1])
    count = 1 if spec else 1 + int(rng.choice(4, p=_SCRATCH_COUNTS))
    specs = tuple(spec or sample_spec(rng, size) for _ in range(count))
    masks = [scratch_scene(image, rng, one) for one in specs]
    return specs, np.maximum.reduce(masks)


def render(
    rng: Rng,
    *,
    scratched: bool,
    size: Size | None = None,
    material: str | None = None,
    spec: ScratchSpec | None = None,
) -> Scene:
    """Draws one photo; for one state of `rng` both labels give the same scene but the scratch."""
    choose, lay, surface, mark, scratch, cover, shoot = _branch(rng, 7)
    chosen_size = SIZES[int(choose.integers(len(SIZES)))]
    chosen_material = pick(choose, tuple(MATERIALS))
    size, material = size or chosen_size, material or chosen_material
    layout = sample_layout(lay)
    image = MATERIALS[material](surface, size)
    paint_markings(image, mark, layout)
    specs: tuple[ScratchSpec, ...] = ()
    mask = np.zeros(size, dtype=np.uint8)
    if scratched:
        specs, mask = _draw_scratches(image, scratch, spec)
    for hidden in paint_clutter(image, cover, layout):
        mask[hidden > _HIDDEN] = 0
    return Scene(
        image=photograph(image, shoot),
        mask=mask,
        label=SCRATCHED if scratched else UNSCRATCHED,
        material=material,
        scratches=specs,
        distractors=layout.names,
    )
