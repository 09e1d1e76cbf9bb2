"""Writer of HDF5 files: uncompressed arrays (see `vsr.io.writers.contiguous`) with dimension scales, labels and attributes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from vsr.io.readers.hdf5 import PLACEHOLDER, is_placeholder
from vsr.io.writers.contiguous import ContiguousWriter
from vsr.io.writers.template import OutputTemplate

# A file that every HDF5 since 1.8 reads, and older MATLAB with it.
EARLY = {"libver": ("earliest", "v108")}


def hdf5_pixel_options(template: OutputTemplate) -> dict[str, Any]:
    """Return the HDF5 options of arrays without values, allocated at once: contiguous, or a chunk per frame if an axis grows."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    if not template.unlimited:
        properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        properties.set_layout(h5py.h5d.CONTIGUOUS)
        return {"dcpl": properties}
    properties.set_fill_time(h5py.h5d.FILL_TIME_IFSET)  # or frames that a later program appends would have any values
    chunk = tuple(1 if letter in "nt" else n for letter, n in zip(template.axes, template.array_shape, strict=True))
    return {"dcpl": properties, "chunks": chunk, "fillvalue": np.dtype(template.dtype).type(np.nan)}


def create_hdf5_dataset(group: h5py.Group, name: str, shape: Iterable[int], dtype: str, **options: Any) -> h5py.Dataset:
    """Create a dataset without values, for `ContiguousSink` to fill; `options` from `hdf5_pixel_options`."""
    return group.create_dataset(name, tuple(shape), dtype, track_times=False, **options)


def offsets_in_written_hdf5(path: Path, template: OutputTemplate) -> list[int]:
    """Return the byte offset of each array in a closed HDF5 file, or [] if an axis grows: see `frame_offsets_in_hdf5`."""
    with h5py.File(path, "r") as file:
        return [] if template.unlimited else [int(file[name].id.get_offset()) for name in template.names]


def frame_offsets_in_hdf5(path: Path, template: OutputTemplate) -> list[int]:
    """Return the byte offset of each frame of the first array, then of the next one, in a closed HDF5 file of one chunk each."""
    found: dict[tuple[int, int], int] = {}
    with h5py.File(path, "r") as file:
        for i, name in enumerate(template.names):

            def note(chunk: Any, i: int = i) -> None:
                at = dict(zip(template.axes, chunk.chunk_offset, strict=True))
                found[i, at.get("n", 0) * template.shape[2] + at.get("t", 0)] = int(chunk.byte_offset)

            file[name].id.chunk_iter(note)
    return [found[i, frame] for i in range(len(template.names)) for frame in range(template.frames)]


class HDF5Writer(ContiguousWriter):
    """Writer of HDF5 files that every HDF5 version since 1.8 reads."""

    name = "hdf5"
    suffixes = (".h5", ".hdf5", ".he5")
    title = "HDF5"
    field_kinds = "iufOSU"
    growing = True

    def create(self, path: Path, template: OutputTemplate) -> list[int]:
        """Write a file without pixels and return each array's byte offset. One-dimensional fields become dimension scales."""
        with h5py.File(path, "w", **EARLY) as file:
            for group, attrs in template.group_attrs.items():
                _set(file.require_group(group or "/"), attrs)
            scales: dict[str, list[h5py.Dataset]] = {}
            growing = template.unlimited_dims
            for entry in template.fields:
                kind = h5py.string_dtype() if entry.values.dtype.kind in "OU" else entry.values.dtype
                sizes = tuple(None if dim in growing else n for dim, n in zip(entry.dims, entry.values.shape, strict=True))
                options = {"maxshape": sizes} if None in sizes else {}
                dataset = file.create_dataset(
                    entry.name, data=entry.values.astype(kind), dtype=kind, track_times=False, **options
                )
                _set(dataset, entry.attrs)
                if len(entry.dims) == 1:
                    dataset.make_scale(entry.name.rpartition("/")[2])
                    scales.setdefault(entry.dims[0], []).append(dataset)
            if scales:  # as in NetCDF-4, whose readers refuse a file in which only some dimensions have a scale
                for dim, size in template.dim_sizes().items():
                    if dim not in scales and dim not in file:
                        options = {"maxshape": (None,)} if dim in growing else {}
                        placeholder = file.create_dataset(dim, shape=(size,), dtype=">f4", track_times=False, **options)
                        placeholder.make_scale(f"{PLACEHOLDER.decode()}{size:10d}")
                        scales[dim] = [placeholder]
            for entry in template.fields:
                if len(entry.dims) > 1:
                    _attach(file[entry.name], entry.dims, scales)
            for i, name in enumerate(template.names):
                options = hdf5_pixel_options(template)
                if template.unlimited:
                    lengths = zip(template.axes, template.array_shape, strict=True)
                    options["maxshape"] = tuple(None if letter in template.unlimited else n for letter, n in lengths)
                dataset = create_hdf5_dataset(file, name, template.array_shape, template.dtype, **options)
                _set(dataset, template.attrs_of(i))
                _attach(dataset, template.dims or (), scales)
        return offsets_in_written_hdf5(path, template)

    def frame_offsets(self, path: Path, template: OutputTemplate) -> list[int]:
        return frame_offsets_in_hdf5(path, template)


def _attach(dataset: h5py.Dataset, dims: Iterable[str], scales: Mapping[str, list[h5py.Dataset]]) -> None:
    for i, dim in enumerate(dims):
        for scale in scales.get(dim, []):
            dataset.dims[i].attach_scale(scale)
        if dim not in scales or scales[dim][0].name.rpartition("/")[2] != dim or is_placeholder(scales[dim][0]):
            dataset.dims[i].label = dim


def _set(item: h5py.Group | h5py.Dataset, attrs: Mapping[str, Any]) -> None:
    for key, value in attrs.items():
        item.attrs[key] = value
