"""Writer of MATLAB 7.3 files: HDF5 behind MATLAB's own header, with reversed dimensions and classes as attributes.

Inputs of older versions become 7.3 as well: older versions hold 2 GB at most and cannot be written piece by piece.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from vsr.io.writers.contiguous import ContiguousWriter
from vsr.io.writers.hdf5 import EARLY, create_hdf5_dataset, hdf5_pixel_options, offsets_in_written_hdf5
from vsr.io.writers.template import OutputTemplate

HEADER = 512  # bytes before the HDF5 file
TEXT = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created by: vsr HDF5 schema 1.00 ."


class MatlabWriter(ContiguousWriter):
    """Writer of MATLAB 7.3 files."""

    name = "matlab"
    suffixes = (".mat",)
    title = "MATLAB 7.3"
    has_attributes = False

    def storage_order(self, template: OutputTemplate) -> str:
        return template.axes[::-1]

    def valid_names(self, names: Sequence[str]) -> list[str]:
        taken: set[str] = set()
        return [_identifier(name, taken) for name in names]

    def create(self, path: Path, template: OutputTemplate) -> list[int]:
        """Write a file without pixels and return each array's byte offset. Dimensions are stored in reverse, as in MATLAB."""
        with h5py.File(path, "w", userblock_size=HEADER, **EARLY) as file:
            for name in template.names:
                dataset = create_hdf5_dataset(
                    file, name, template.array_shape[::-1], template.dtype, **hdf5_pixel_options(template)
                )
                dataset.attrs["MATLAB_class"] = np.bytes_("single" if template.item == 4 else "double")
            for entry in template.fields:
                # MATLAB computes in double, and its arrays have two dimensions at least: vectors are columns.
                values = entry.values.astype(np.float64)
                values = values.reshape(-1, 1) if values.ndim < 2 else values
                dataset = file.create_dataset(entry.name, data=values.T, track_times=False)
                dataset.attrs["MATLAB_class"] = np.bytes_("double")
        with path.open("r+b") as raw:
            raw.write(TEXT.ljust(116) + bytes(8) + b"\x00\x02IM")
        return offsets_in_written_hdf5(path, template)


def _identifier(name: str, taken: set[str]) -> str:
    """Convert a name to one that MATLAB accepts and that is not in `taken`, and add it there: "run/a/2 m" -> "x2_m"."""
    word = re.sub(r"\W", "_", name.rpartition("/")[2], flags=re.ASCII)
    word = (word if word[:1].isalpha() else f"x{word}")[:60]
    out, number = word, 1
    while out in taken:
        number += 1
        out = f"{word}{number}"
    taken.add(out)
    return out
