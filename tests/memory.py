"""Memory of the process that runs the tests."""

from __future__ import annotations

import ctypes
import gc
import os
from pathlib import Path


def occupied() -> int:
    """Bytes of the process in memory that no file backs; 0 where the system does not tell."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return 0
    _, resident, shared, *_ = map(int, statm.read_text().split())
    return (resident - shared) * os.sysconf("SC_PAGESIZE")


def give_back() -> None:
    """Return to the system what nobody needs any more; glibc keeps most of what is freed otherwise."""
    gc.collect()
    if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)
