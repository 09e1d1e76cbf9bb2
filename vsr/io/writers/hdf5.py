"""HDF5: the array with its dimension scales, labels and attributes. Not compressed, see `raw`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from vsr.io.readers.base import guarded
from vsr.io.readers.hdf5 import DAMAGED, open_hdf5, outside, walk
from vsr.io.readers.isolated.parent import run
from vsr.io.writers.contiguous import FLOAT
from vsr.io.writers.metadata import Contents, Neighbour, portable
from vsr.io.writers.template import DIMS, Template

# A file that every HDF5 since 1.8 reads, and older MATLAB with it.
EARLY = {"libver": ("earliest", "v108")}
# What HDF5 and NetCDF write themselves, to say how datasets hang together.
INTERNAL = (
    *("CLASS", "NAME", "DIMENSION_LIST", "DIMENSION_LABELS", "REFERENCE_LIST"),
    *("_Netcdf4Dimid", "_Netcdf4Coordinates", "_NCProperties", "_nc3_strict"),
)
PLACEHOLDER = b"This is a netCDF dimension but not a netCDF variable"


def in_one_piece() -> Any:
    """Creation properties: contiguous, given its place in the file at once, and not filled."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.CONTIGUOUS)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    return properties


def contiguous(group: h5py.Group, name: str, shape: Iterable[int]) -> h5py.Dataset:
    """A float32 dataset for `raw` to write to."""
    return group.create_dataset(name, tuple(shape), FLOAT, dcpl=in_one_piece(), track_times=False)


def offsets_of(path: Path, names: Iterable[str]) -> list[int]:
    """Where in the (closed) file the pixels of each array begin."""
    with h5py.File(path, "r") as file:
        return [int(file[name].id.get_offset()) for name in names]


def create(path: Path, template: Template) -> list[int]:
    """The file without its pixels; fields that are one-dimensional become the scales of the dimensions that they name."""
    with h5py.File(path, "w", **EARLY) as file:
        for group, attrs in template.group_attrs.items():
            _set(file.require_group(group or "/"), attrs)
        scales: dict[str, list[h5py.Dataset]] = {}
        for entry in template.fields:
            kind = h5py.string_dtype() if entry.values.dtype.kind in "OU" else entry.values.dtype
            dataset = file.create_dataset(entry.name, data=entry.values.astype(kind), dtype=kind, track_times=False)
            _set(dataset, entry.attrs)
            if len(entry.dims) == 1:
                dataset.make_scale(entry.dims[0])
                scales.setdefault(entry.dims[0], []).append(dataset)
        for entry in template.fields:
            if len(entry.dims) > 1:
                _attach(file[entry.name], entry.dims, scales)
        for i, name in enumerate(template.names):
            dataset = contiguous(file, name, template.array_shape)
            _set(dataset, template.attrs_of(i))
            _attach(dataset, template.dims or (), scales)
    return offsets_of(path, template.names)


def _attach(dataset: h5py.Dataset, dims: Iterable[str], scales: Mapping[str, list[h5py.Dataset]]) -> None:
    for i, dim in enumerate(dims):
        for scale in scales.get(dim, []):
            dataset.dims[i].attach_scale(scale)
        if dim not in scales or scales[dim][0].name.rpartition("/")[2] != dim:
            dataset.dims[i].label = dim


def _set(item: h5py.Group | h5py.Dataset, attrs: Mapping[str, Any]) -> None:
    for key, value in attrs.items():
        item.attrs[key] = value


def _attributes(item: h5py.Group | h5py.Dataset) -> dict[str, Any]:
    """Those that numbers or texts can express; HDF5's and NetCDF's own are left out."""
    out: dict[str, Any] = {}
    for key in item.attrs:
        with suppress(Exception):  # of a type that h5py does not read
            if key not in INTERNAL:
                out[key] = item.attrs[key]
    return portable(out)


def contents(path: Path, names: list[str], axes: str) -> Contents:
    """What stands around the arrays `names`. Where only some dimensions have a name, the others get that of their axis."""
    found = run(path, _contents, path, names, axes)
    return replace(found, neighbours=[replace(n, read=partial(run, path, _values, path, n.name)) for n in found.neighbours])


def _contents(path: Path, names: list[str], axes: str) -> Contents:
    with open_hdf5(path) as file, guarded(str(path), DAMAGED):
        movie = file[names[0]]
        scales = [_scale(dimension) for dimension in movie.dims]
        known = [_dim_name(dimension, scale) for dimension, scale in zip(movie.dims, scales, strict=True)]
        dims = tuple(name or DIMS[letter] for name, letter in zip(known, axes, strict=True)) if any(known) else None
        if dims is not None and len(set(dims)) < len(dims):
            dims = None
        attached = {scale.name: dims[i] for i, scale in enumerate(scales) if scale is not None and dims is not None}
        groups = {"": _attributes(file)}
        for name in names:
            parts = name.split("/")[:-1]
            for depth in range(1, len(parts) + 1):
                groups["/".join(parts[:depth])] = _attributes(file["/".join(parts[:depth])])
        neighbours = [
            neighbour
            for name, item, problem in walk(file)
            if problem is None and isinstance(item, h5py.Dataset) and name not in names
            if (neighbour := _neighbour(name, item, attached.get(item.name))) is not None
        ]
        return Contents(dims, tuple(_attributes(file[name]) for name in names), groups, neighbours)


def _neighbour(name: str, item: h5py.Dataset, dim: str | None) -> Neighbour | None:
    """None for what has no values of its own; `dim`: the dimension of the movie that it is attached to as its scale."""
    kept = item.attrs.get("NAME", b"")
    if item.shape is None or outside(item) is not None or (isinstance(kept, bytes) and kept.startswith(PLACEHOLDER)):
        return None
    dims = tuple(_dim_name(dimension, _scale(dimension)) for dimension in item.dims)
    if dim is not None or (item.is_scale and len(item.shape) == 1):
        dims = (dim or name.rpartition("/")[2],)
    return Neighbour(name, dims, item.shape, _attributes(item), coordinate=dim is not None)


def _values(path: Path, name: str) -> np.ndarray:
    with open_hdf5(path) as file, guarded(f"{path}: {name}", DAMAGED):
        values = file[name]
        return np.asarray(values.asstr()[()] if h5py.check_string_dtype(values.dtype) else values[()])


def _scale(dimension: Any) -> h5py.Dataset | None:
    with suppress(Exception):
        if len(dimension):
            return dimension[0]
    return None


def _dim_name(dimension: Any, scale: h5py.Dataset | None) -> str:
    return str(dimension.label or (scale.name.rpartition("/")[2] if scale is not None else ""))
