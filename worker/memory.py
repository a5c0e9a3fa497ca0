"""glibc's malloc, told to keep the memory that one photo leaves for the next.

By itself it gives a freed image back to the system and asks for it again: some forty page faults a
photo, a thirtieth of its processor time.
"""

from __future__ import annotations

import ctypes

#: of mallopt(3), and bytes: what is kept free at the end of an arena, and what is large
_M_TRIM_THRESHOLD, _KEPT = -1, 64 * 2**20
_M_MMAP_THRESHOLD, _LARGE = -3, 32 * 2**20
#: each arena keeps its own
_M_ARENA_MAX, _ARENAS = -8, 2


def keep_freed_memory() -> None:
    """Before there are threads. Nothing where the C library is another."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(_M_ARENA_MAX, _ARENAS)
        mallopt(_M_TRIM_THRESHOLD, _KEPT)
        mallopt(_M_MMAP_THRESHOLD, _LARGE)
