"""Near-duplicates: the same photo stored again, resized, relit or cropped by a little."""

from __future__ import annotations

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from shared.model.decode import Pixels

Hashes = NDArray[np.uint8]

#: DCT signs on a side: 256 bits. With the usual 64, smooth surfaces under one lamp look the same
_SIDE = 16
#: the hash looks at four times as many pixels on a side
LEAST_PIXELS = 4 * _SIDE
#: hashes compared with all others at a time
_ROWS = 512


def perceptual_hash(pixels: Pixels) -> Hashes:
    """RGB [height, width, 3] to uint8 [32]."""
    return np.packbits(imagehash.phash(Image.fromarray(pixels), hash_size=_SIDE).hash.ravel())


def group(hashes: Hashes, near: int) -> NDArray[np.int32]:
    """A group number for each row of `hashes`; rows that differ in up to `near` bits share one.

    So do neighbours of neighbours: a group is never on both sides of a split.
    """
    words = np.ascontiguousarray(hashes).view(np.uint64)
    pairs = []
    for start in range(0, len(words), _ROWS):
        different = words[start : start + _ROWS, None] ^ words[None, start:]
        bits = np.bitwise_count(different).sum(2, dtype=np.uint16)
        pairs.append(np.argwhere(bits <= near) + start)
    rows, columns = np.concatenate(pairs).T
    graph = coo_array((np.ones(len(rows), bool), (rows, columns)), shape=(len(words), len(words)))
    groups: NDArray[np.int32] = connected_components(graph, directed=False)[1]
    return groups
