"""Peak memory of training on a movie that does not fit into memory.

    python -m benchmarks.large_file [--frames 1000] [--size 1024] [--suffix .h5] [--folder TMP] [--memory MIB]

The script writes an HDF5 file or a Zarr store (--suffix .zarr) of 4 GB, trains on it in a separate process, and deletes it
afterwards.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np

ROOT = Path(__file__).parent.parent
CHUNK = 8  # frames of a chunk in Zarr


def write_movie(path: Path, frames: int, size: int) -> None:
    """Write moving waves with noise, one frame per chunk in HDF5 and eight in Zarr."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size].astype(np.float32) / 20

    def frame(t: int) -> np.ndarray:
        return np.sin(x + 0.1 * t) * np.cos(y - 0.05 * t) + 0.1 * rng.random((size, size), np.float32)

    if path.suffix == ".zarr":
        import zarr

        root: Any = zarr.open_group(path, mode="w")
        shape, chunks = (frames, size, size), (CHUNK, size, size)
        array = root.create_array("h", shape=shape, chunks=chunks, dtype="float32", dimension_names=("time", "y", "x"))
        for first in range(0, frames, CHUNK):
            array[first : first + CHUNK] = np.stack([frame(t) for t in range(first, min(first + CHUNK, frames))])
        return
    with h5py.File(path, "w") as file:
        data = file.create_dataset("h", (frames, size, size), "f4", chunks=(1, size, size))
        for t in range(frames):
            data[t] = frame(t)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--suffix", choices=[".h5", ".zarr"], default=".h5")
    parser.add_argument("--folder", default=None)
    parser.add_argument("--memory", type=int, default=256)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / f"movie{options.suffix}"
        write_movie(path, options.frames, options.size)
        command = [sys.executable, str(ROOT / "train.py"), "data=climate", f"data.path={path}", "data.axes=tyx", "epochs=2"]
        command += ["data.learn=0.98", "data.test=0.02", "data.val=0.01"]
        command += [f"data.memory={options.memory}", f"hydra.run.dir={folder}/run", "strategy=cpu"]
        start = time.perf_counter()
        subprocess.run(command, check=True)
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
        raw = 4 * options.frames * options.size**2 / 2**30
        print(f"{raw:.2f} GiB of values, peak memory of the process {peak:.2f} GiB, {seconds:.0f} s")


if __name__ == "__main__":
    main()
