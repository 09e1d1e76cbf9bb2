"""Writer of HDF5 files: uncompressed arrays (see `vsr.io.writers.contiguous`) with dimension scales, labels and attributes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import h5py

from vsr.io.readers.hdf5 import PLACEHOLDER, is_placeholder
from vsr.io.writers.contiguous import ContiguousWriter
from vsr.io.writers.template import OutputTemplate

# A file that every HDF5 since 1.8 reads, and older MATLAB with it.
EARLY = {"libver": ("earliest", "v108")}


def hdf5_contiguous_properties() -> Any:
    """Return the HDF5 creation properties of a dataset that is contiguous, allocated at once, and not filled."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.CONTIGUOUS)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    return properties


def create_hdf5_dataset(group: h5py.Group, name: str, shape: Iterable[int], dtype: str) -> h5py.Dataset:
    """Create a contiguous dataset without values, for `ContiguousSink` to fill."""
    return group.create_dataset(name, tuple(shape), dtype, dcpl=hdf5_contiguous_properties(), track_times=False)


def offsets_in_written_hdf5(path: Path, names: Iterable[str]) -> list[int]:
    """Return the byte offset of the pixels of each named array in a closed HDF5 file."""
    with h5py.File(path, "r") as file:
        return [int(file[name].id.get_offset()) for name in names]


class HDF5Writer(ContiguousWriter):
    """Writer of HDF5 files that every HDF5 version since 1.8 reads."""

    name = "hdf5"
    suffixes = (".h5", ".hdf5", ".he5")
    title = "HDF5"
    field_kinds = "iufOSU"

    def create(self, path: Path, template: OutputTemplate) -> list[int]:
        """Write a file without pixels and return each array's byte offset. One-dimensional fields become dimension scales."""
        with h5py.File(path, "w", **EARLY) as file:
            for group, attrs in template.group_attrs.items():
                _set(file.require_group(group or "/"), attrs)
            scales: dict[str, list[h5py.Dataset]] = {}
            for entry in template.fields:
                kind = h5py.string_dtype() if entry.values.dtype.kind in "OU" else entry.values.dtype
                dataset = file.create_dataset(entry.name, data=entry.values.astype(kind), dtype=kind, track_times=False)
                _set(dataset, entry.attrs)
                if len(entry.dims) == 1:
                    dataset.make_scale(entry.name.rpartition("/")[2])
                    scales.setdefault(entry.dims[0], []).append(dataset)
            if scales:  # as in NetCDF-4, whose readers refuse a file in which only some dimensions have a scale
                for dim, size in template.dim_sizes().items():
                    if dim not in scales and dim not in file:
                        placeholder = file.create_dataset(dim, shape=(size,), dtype=">f4", track_times=False)
                        placeholder.make_scale(f"{PLACEHOLDER.decode()}{size:10d}")
                        scales[dim] = [placeholder]
            for entry in template.fields:
                if len(entry.dims) > 1:
                    _attach(file[entry.name], entry.dims, scales)
            for i, name in enumerate(template.names):
                dataset = create_hdf5_dataset(file, name, template.array_shape, template.dtype)
                _set(dataset, template.attrs_of(i))
                _attach(dataset, template.dims or (), scales)
        return offsets_in_written_hdf5(path, template.names)


def _attach(dataset: h5py.Dataset, dims: Iterable[str], scales: Mapping[str, list[h5py.Dataset]]) -> None:
    for i, dim in enumerate(dims):
        for scale in scales.get(dim, []):
            dataset.dims[i].attach_scale(scale)
        if dim not in scales or scales[dim][0].name.rpartition("/")[2] != dim or is_placeholder(scales[dim][0]):
            dataset.dims[i].label = dim


def _set(item: h5py.Group | h5py.Dataset, attrs: Mapping[str, Any]) -> None:
    for key, value in attrs.items():
        item.attrs[key] = value
