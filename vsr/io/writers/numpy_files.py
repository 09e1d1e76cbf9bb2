"""NumPy's .npy and .npz: only the pixels, and in .npz the coordinates as members of their own."""

from __future__ import annotations

import zipfile
from functools import partial
from pathlib import Path

import numpy as np

from vsr.io.readers.numpy_files import NpzSource
from vsr.io.writers.contiguous import FLOAT
from vsr.io.writers.metadata import Contents, Neighbour
from vsr.io.writers.template import Template

BLOCK = 2**22  # bytes copied at once


def storage_order(template: Template) -> str:
    """The order of storage in which frames lie together: reversed (Fortran's) for axes that end with time, such as "yxt"."""
    reverse = template.axes.rindex("t") > max(map(template.axes.index, "yx"))
    return template.axes[::-1] if reverse else template.axes


def create_npy(path: Path, template: Template) -> list[int]:
    """A header; for several channels as arrays of their own (.npz) one for each, with room for its pixels behind it."""
    shape, fortran = template.array_shape, storage_order(template) != template.axes
    header = {"descr": np.lib.format.dtype_to_descr(FLOAT), "fortran_order": fortran, "shape": shape}
    offsets: list[int] = []
    with path.open("wb") as file:
        for _ in template.names:
            np.lib.format.write_array_header_1_0(file, header)
            offsets.append(file.tell())
            file.seek(template.data_bytes // len(template.names), 1)
    return offsets


def pack_npz(spool: Path, target: Path, template: Template) -> None:
    """The zip of what `create_npy` began and of the fields, stored: uncompressed members can be mapped. Needs twice the space."""
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


def npz_contents(path: Path, names: list[str]) -> Contents:
    """Single numbers are carried over; what other arrays mean, the file does not say."""
    source = NpzSource(path)
    found = [v.name for v in source.listing().variables if v.name not in names and not v.shape]
    return Contents(neighbours=[Neighbour(name, (), (), {}, partial(source.read, name, ())) for name in found])
