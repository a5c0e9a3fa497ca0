"""Hard negatives: which look-alikes a scene holds, drawn by chance and never by label."""

from collections.abc import Callable
from dataclasses import dataclass

from training.synthetic import clutter, markings
from training.synthetic.arrays import Image, Plane, Rng

# A painter draws in place and returns the opacity of what hides the surface, if anything does.
Painter = Callable[[Image, Rng], Plane | None]

# Part of the surface: a scratch runs over these.
MARKINGS: dict[str, Painter] = {
    "seam": markings.seam,
    "print": markings.text,
    "ruling": markings.ruling,
    "logo": markings.logo,
    "tiles": markings.tiles,
    "holes": markings.holes,
}
# In front of the surface: these lie over a scratch.
CLUTTER: dict[str, Painter] = {
    "hair": clutter.hair,
    "dust": clutter.dust,
    "drops": clutter.drops,
    "reflection": clutter.reflection,
    "shadow": clutter.shadow,
    "cable": clutter.cable,
    "edge": clutter.edge,
}
FREQUENCY: dict[str, float] = {
    "seam": 0.15,
    "print": 0.12,
    "ruling": 0.12,
    "logo": 0.06,
    "tiles": 0.05,
    "holes": 0.1,
    "hair": 0.16,
    "dust": 0.2,
    "drops": 0.08,
    "reflection": 0.22,
    "shadow": 0.12,
    "cable": 0.06,
    "edge": 0.15,
}


@dataclass(frozen=True)
class Layout:
    """The look-alikes of one scene, settled before anyone asks whether it is scratched."""

    markings: tuple[str, ...]
    clutter: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return self.markings + self.clutter


def sample_layout(rng: Rng) -> Layout:
    drawn = {name for name, share in FREQUENCY.items() if rng.random() < share}
    return Layout(
        markings=tuple(name for name in MARKINGS if name in drawn),
        clutter=tuple(name for name in CLUTTER if name in drawn),
    )


def paint_markings(image: Image, rng: Rng, layout: Layout) -> None:
    for name in layout.markings:
        MARKINGS[name](image, rng)


def paint_clutter(image: Image, rng: Rng, layout: Layout) -> list[Plane]:
    """Returns the opacities of everything that hides the surface."""
    covers = [CLUTTER[name](image, rng) for name in layout.clutter]
    return [cover for cover in covers if cover is not None]
