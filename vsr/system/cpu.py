"""Test of the CPU for bfloat16 arithmetic."""

from __future__ import annotations

from pathlib import Path


def computes_bf16(file: Path = Path("/proc/cpuinfo")) -> bool:
    """Return True if Linux lists bfloat16 multiplication among the CPU's flags; False on other systems."""
    try:
        flags = file.read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags
