"""Writes a balanced folder of synthetic photos; the same seed always writes the same files."""

import ctypes
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np

from training.synthetic.scene import SCRATCHED, UNSCRATCHED, Scene, render

_FILE_QUALITY = 95  # the camera already compressed the photo; storing it should add little
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # from glibc's malloc.h
_KEPT_BYTES = 1 << 28


def scene_at(seed: int, index: int) -> Scene:
    """The photo number `index` of the dataset `seed`; even numbers are scratched."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, index]))
    return render(rng, scratched=index % 2 == 0)


def _write(index: int, folder: Path, seed: int) -> None:
    scene = scene_at(seed, index)
    path = folder / scene.label / f"{scene.material}_{index:05d}.jpg"
    bgr = cv2.cvtColor(scene.image, cv2.COLOR_RGB2BGR)
    if not cv2.imwrite(str(path), bgr, [cv2.IMWRITE_JPEG_QUALITY, _FILE_QUALITY]):
        raise OSError(f"could not write {path}")


def _start_worker() -> None:
    """One thread each, and freed memory kept.

    By default glibc hands every image-sized array back to the kernel, and faulting its pages in
    again takes as long as the drawing.
    """
    cv2.setNumThreads(1)
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
        libc.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def write_dataset(folder: Path, count: int, seed: int, *, workers: int = 2) -> None:
    """Writes `count` photos as folder/{scratches,no_scratches}/{material}_{index}.jpg."""
    for label in (SCRATCHED, UNSCRATCHED):
        (folder / label).mkdir(parents=True, exist_ok=True)
    write = partial(_write, folder=folder, seed=seed)
    if workers <= 1:
        for index in range(count):
            write(index)
        return
    # Forking a process in which OpenCV has started threads can hang the child.
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_start_worker
    ) as pool:
        for _ in pool.map(write, range(count), chunksize=8):
            pass  # draining the iterator raises what a worker raised
