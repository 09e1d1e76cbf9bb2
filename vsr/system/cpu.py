"""What the processor can do, by what the system says of it."""

from __future__ import annotations

from pathlib import Path


def computes_bf16(file: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the CPU multiplies in bfloat16, by what Linux says; False where nothing is said."""
    try:
        flags = file.read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags
