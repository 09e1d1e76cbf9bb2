"""Writers of NumPy's .npy files, which hold only the pixels, and .npz files, which also hold coordinates as members."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from vsr.io.writers.contiguous import ContiguousWriter
from vsr.io.writers.template import OutputTemplate

BLOCK = 2**22  # bytes copied at once


class NpyWriter(ContiguousWriter):
    """Writer of NumPy's .npy files, which hold one array."""

    name = "npy"
    suffixes: tuple[str, ...] = (".npy",)
    title = "NumPy .npy"
    has_attributes = False
    field_kinds = ""
    single_array = True

    def storage_order(self, template: OutputTemplate) -> str:
        """Return the storage order that keeps each frame together: reversed (Fortran's) if t follows y and x, as in "yxt"."""
        reverse = template.axes.rfind("t") > max(map(template.axes.index, "yx"))
        return template.axes[::-1] if reverse else template.axes

    def create(self, path: Path, template: OutputTemplate) -> list[int]:
        """Write a header for each array, leave room for its pixels behind it, and return the byte offsets of the pixels."""
        shape, fortran = template.array_shape, self.storage_order(template) != template.axes
        header = {"descr": template.dtype, "fortran_order": fortran, "shape": shape}
        offsets: list[int] = []
        with path.open("wb") as file:
            for _ in template.names:
                np.lib.format.write_array_header_1_0(file, header)
                offsets.append(file.tell())
                file.seek(template.data_bytes // len(template.names), 1)
        return offsets


class NpzWriter(NpyWriter):
    """Writer of NumPy's .npz files: headers and pixels are written as in .npy files, and packed into a zip at the end."""

    name = "npz"
    suffixes = (".npz",)
    title = "NumPy .npz"
    field_kinds = "iuf"
    single_array = False
    packs = True

    def pack(self, spool: Path, target: Path, template: OutputTemplate) -> None:
        """Pack the arrays in `spool` and the fields into an uncompressed .npz, whose members can be memory-mapped."""
        count = len(template.names)
        with spool.open("rb") as file, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
            for name in template.names:
                # ZipInfo by name alone: the time of today must not get into the file.
                with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                    start = file.tell()
                    np.lib.format.read_magic(file)
                    np.lib.format.read_array_header_1_0(file)
                    left = file.tell() - start + template.data_bytes // count
                    file.seek(start)
                    while left:
                        block = file.read(min(BLOCK, left))
                        if not block:
                            raise OSError(f"{spool} is shorter than it was")
                        member.write(block)
                        left -= len(block)
            for entry in template.fields:
                with archive.open(zipfile.ZipInfo(f"{entry.name}.npy"), "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, entry.values, allow_pickle=False)
