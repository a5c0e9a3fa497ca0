"""Draws photos of scratched and unscratched surfaces: the offline demo and stress instrument."""

from training.synthetic.dataset import scene_at, write_dataset
from training.synthetic.scene import Scene, render
from training.synthetic.scratches import ScratchSpec, draw_scratch

__all__ = ["Scene", "ScratchSpec", "draw_scratch", "render", "scene_at", "write_dataset"]
