"""What a runtime is, and which one a checkpoint gets on this machine."""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from shared.errors import CheckpointError
from shared.model.decode import Pixels
from shared.model.evidence import Floats, Trace
from shared.model.manifest import Manifest, Precision

Logits = NDArray[np.float32]
#: views to logits [images, 2] and to what the head makes them of, [images, features]
FeatureForward = Callable[[Pixels], tuple[Logits, Floats]]
RuntimeName = Literal["auto", "openvino", "torch"]


@dataclass(frozen=True)
class Embedded:
    """What a pass makes of one image.

    logits [2]; features [features], what the head saw, or None where the graph does not show them.
    """

    logits: Logits
    features: Floats | None = None


class Runtime(Protocol):
    """Runs the graph: views in, logits out. Every method may be called from any thread."""

    #: as loaded, `auto` resolved
    precision: Precision
    #: that are worth to be under way at a time; more callers wait
    passes: int
    #: images beyond which a pass gains nothing
    batch: int

    @property
    def variant(self) -> str:
        """Runtime, precision and device, such as `openvino/f32/cpu`."""

    def forward(self, views: Pixels) -> Logits:
        """uint8 [images, views, size, size, 3] to logits [images, 2]."""

    def embed(self, views: Pixels) -> list[Embedded]:
        """The same pass as `forward`, at the same cost, one Embedded an image."""

    def with_features(self) -> FeatureForward:
        """`embed`, in arrays for the whole batch.

        Raises CheckpointError when the graph does not show where its head begins.
        """

    def trace(self, views: Pixels) -> list[Trace]:
        """The same pass, one Trace an image: what `evidence.py` needs."""

    def warm_up(self, views: Pixels) -> None:
        """One pass over such views on every stream, while nothing else runs."""


def open_runtime(
    folder: Path,
    manifest: Manifest,
    *,
    name: RuntimeName = "auto",
    precision: Precision | Literal["auto"] = "f32",
    threads: int = 0,
    streams: int = 1,
) -> Runtime:
    """CUDA through torch where there is one, else OpenVINO where the checkpoint has a graph.

    With `precision` auto, the fastest that the processor and the checkpoint have. `threads` are of
    all `streams` together; 0 of them: one for each core, up to a bound.
    Raises CheckpointError when the checkpoint or this machine lacks what is asked for.
    """
    if name == "auto":
        name = "torch" if not manifest.openvino or _cuda_available() else "openvino"
    try:
        if name == "openvino":
            from shared.model.runtime_openvino import OpenVinoRuntime

            return OpenVinoRuntime(
                folder, manifest, precision=precision, threads=threads, streams=streams
            )
        from shared.model.runtime_torch import TorchRuntime

        return TorchRuntime(folder, manifest, precision=precision, threads=threads)
    except ImportError as error:
        raise CheckpointError(f"runtime {name} is not installed here: {error}") from error


def _cuda_available() -> bool:
    """Imports torch only where a driver has a GPU: the import alone takes seconds and 0.4 GB."""
    if importlib.util.find_spec("torch") is None or not _driver_has_gpu():
        return False
    import torch

    return torch.cuda.is_available()  # a torch built without CUDA says no


def _driver_has_gpu() -> bool:
    """What NVIDIA's driver says of itself; no driver, no GPU."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int()
    return (
        driver.cuInit(0) == 0
        and driver.cuDeviceGetCount(ctypes.byref(count)) == 0
        and count.value > 0
    )
