"""What one photo leaves is there for the next."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

_FAULTS = """
import resource, sys
import numpy as np
from worker.memory import keep_freed_memory

if "keep" in sys.argv:
    keep_freed_memory()

def faults():
    began = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        one, other = np.ones(24 * 2**20, np.uint8), np.ones(24 * 2**20, np.uint8)
        del one, other
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - began

faults()
print(faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc's malloc that is told")
def test_memory_that_was_freed_is_used_again() -> None:
    def faults(*words: str) -> int:
        command = [sys.executable, "-c", _FAULTS, *words]
        return int(subprocess.run(command, capture_output=True, check=True).stdout)

    assert faults("keep") < 100 < faults()
