"""Cores of the CPU, its arithmetic, and the memory of its process."""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache
from pathlib import Path

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -2, -3, -8  # of mallopt in glibc's malloc.h
KEPT_BYTES = 1 << 30


def usable_cores() -> int:
    """Return the number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_computes_bf16(file: Path = Path("/proc/cpuinfo")) -> bool:
    """Return True if Linux lists bfloat16 multiplication among the CPU's flags; False on other systems."""
    try:
        flags = file.read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


@cache
def keep_freed_memory() -> None:
    """Let the C library keep up to 1 GiB of freed memory for this process, instead of returning it to the system at once.

    A network on a CPU frees and allocates large tensors all the time, and the system clears each page that it hands out: half of
    the time of an inference (docs/reference/performance.md). This has no effect outside Linux with glibc, or if the environment
    has settings of malloc.
    """
    if sys.platform != "linux" or any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        settings = {M_MMAP_THRESHOLD: KEPT_BYTES, M_TRIM_THRESHOLD: KEPT_BYTES, M_TOP_PAD: 1 << 26, M_ARENA_MAX: 1}
        for name, value in settings.items():
            mallopt(name, value)
