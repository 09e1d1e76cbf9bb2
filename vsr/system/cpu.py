"""Cores of the CPU and its arithmetic."""

from __future__ import annotations

import os
from pathlib import Path


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
