"""Provenance of results: command, versions, commit, hardware and memory."""

from __future__ import annotations

import platform
import resource
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from vsr.system.cpu import usable_cores
from vsr.version import __version__

PACKAGES = ("torch", "lightning", "torchmetrics", "hydra-core", "omegaconf", "numpy", "scipy", "h5py")


def software_versions() -> dict[str, str | None]:
    """Return the versions of vsr, Python and the packages that scores depend on (None if missing), and vsr's commit."""
    found: dict[str, str | None] = {"vsr": __version__, "commit": source_commit(), "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def provenance() -> dict[str, Any]:
    """Return the command line, the time (UTC) and the hardware of this process, as plain values."""
    return {
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "hardware": _hardware(),
    }


def _hardware() -> dict[str, Any]:
    """Describe the machine: CPU, cores, threads, GPUs (memory in GiB) and operating system."""
    gpus = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return {
        "cpu": cpu_name(),
        "cores": usable_cores(),
        "threads": torch.get_num_threads(),
        "gpus": [{"name": gpu.name, "memory": round(gpu.total_memory / 2**30, 1)} for gpu in gpus],
        "system": platform.platform(terse=True),
    }


def peak_memory() -> dict[str, float]:
    """Return the peak memory of this process and of the tensors on its GPU, in MiB."""
    # Linux counts in KiB, macOS in bytes.
    unit = 2**20 if sys.platform == "darwin" else 2**10
    found = {"process": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1)}
    if torch.cuda.is_available():
        found["gpu"] = round(torch.cuda.max_memory_allocated() / 2**20, 1)
    return found


def cpu_name() -> str:
    """Return the name of the CPU from Linux's /proc/cpuinfo, else from Python."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def source_commit() -> str | None:
    """Return the git commit of vsr's working tree, followed by "+" if files are changed; None outside a git checkout."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=5,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
