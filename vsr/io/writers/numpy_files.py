"""Writers of NumPy's .npy, which holds only the pixels, and .npz, which also holds coordinates as members."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from vsr.io.writers.contiguous import FLOAT, ContiguousWriter
from vsr.io.writers.template import Template

BLOCK = 2**22  # bytes copied at once


class NpyWriter(ContiguousWriter):
    """NumPy's .npy: one array."""

    name = "npy"
    suffixes: tuple[str, ...] = (".npy",)
    title = "NumPy .npy"
    has_attributes = False
    field_kinds = ""
    single_array = True

    def storage_order(self, template: Template) -> str:
        """The order of storage in which frames lie together: reversed (Fortran's) for axes that end with time, such as "yxt"."""
        reverse = template.axes.rindex("t") > max(map(template.axes.index, "yx"))
        return template.axes[::-1] if reverse else template.axes

    def create(self, path: Path, template: Template) -> list[int]:
        """Each array is a header with room for its pixels behind it."""
        shape, fortran = template.array_shape, self.storage_order(template) != template.axes
        header = {"descr": np.lib.format.dtype_to_descr(FLOAT), "fortran_order": fortran, "shape": shape}
        offsets: list[int] = []
        with path.open("wb") as file:
            for _ in template.names:
                np.lib.format.write_array_header_1_0(file, header)
                offsets.append(file.tell())
                file.seek(template.data_bytes // len(template.names), 1)
        return offsets


class NpzWriter(NpyWriter):
    """NumPy's .npz: the headers and pixels of several .npy files, packed into a zip at the end."""

    name = "npz"
    suffixes = (".npz",)
    title = "NumPy .npz"
    field_kinds = "iuf"
    single_array = False
    packs = True

    def pack(self, spool: Path, target: Path, template: Template) -> None:
        """Pack the stored array and the fields into an uncompressed .npz, whose members can be memory-mapped."""
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
