"""NetCDF-4 by h5netcdf: variables, dimensions and attributes as CF has them; times are copied, not decoded and encoded again."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from vsr.errors import UserError
from vsr.io.readers.base import guarded
from vsr.io.readers.isolated.parent import run
from vsr.io.readers.netcdf import DAMAGED
from vsr.io.writers.contiguous import FLOAT
from vsr.io.writers.hdf5 import EARLY, in_one_piece, offsets_of
from vsr.io.writers.metadata import Contents, Neighbour, portable
from vsr.io.writers.template import DIMS, Template


def create(path: Path, template: Template) -> list[int]:
    """The file without its pixels. All dimensions have a fixed length: one that can grow would cut the array into chunks."""
    h5netcdf = _library("h5netcdf")
    if template.dims is None:
        template = replace(template, dims=tuple(DIMS[letter] for letter in template.axes))
    with h5netcdf.File(path, "w", **EARLY) as file:
        for group, attrs in template.group_attrs.items():
            _group(file, group).attrs.update(attrs)
        for dim, size in template.dim_sizes().items():
            _group(file, _home(dim, template)).dimensions[dim] = size
        for entry in template.fields:
            attrs = dict(entry.attrs)
            values, fill = _storable(entry.values), attrs.pop("_FillValue", None)
            _variable(file, entry.name, entry.dims, attrs, dtype=values.dtype, data=values, fillvalue=fill)
        for i, name in enumerate(template.names):
            options = {"dtype": FLOAT, "fillvalue": np.float32(np.nan), "dcpl": in_one_piece()}
            _variable(file, name, template.dims or (), template.attrs_of(i), **options)
    return offsets_of(path, template.names)


def _variable(file: Any, path: str, dims: tuple[str, ...], attrs: Mapping[str, Any], **options: Any) -> None:
    group, _, name = path.rpartition("/")
    _group(file, group).create_variable(name, dims, track_times=False, **options).attrs.update(attrs)


def _group(file: Any, path: str) -> Any:
    for name in filter(None, path.split("/")):
        file = file.groups[name] if name in file.groups else file.create_group(name)
    return file


def _home(dim: str, template: Template) -> str:
    """The group of a dimension: that of the coordinate with its name, else that of the movie."""
    homes = [entry.name.rpartition("/")[0] for entry in template.fields if entry.name.rpartition("/")[2] == dim]
    return min(homes, key=len) if homes else template.names[0].rpartition("/")[0]


def _storable(values: np.ndarray) -> np.ndarray:
    """In a type that NetCDF has."""
    if values.dtype.kind in "OU":
        return values.astype(h5py.string_dtype())
    return values.astype(np.float32) if values.dtype == np.float16 else values


def contents(path: Path, names: list[str], axes: str, engine: str) -> Contents:
    """What stands around the arrays `names`, in their group and those above it. The reader has checked that it lies in the file.

    A dimension that the file does not name is called by its letter in `axes`.
    """
    found = run(path, _contents, path, names, axes, engine)
    near = [replace(n, read=partial(run, path, _values, path, *_place(n.name), engine)) for n in found.neighbours]
    return replace(found, neighbours=near)


def _place(name: str) -> tuple[str, str]:
    """A variable's group, and its name there."""
    group, _, key = name.rpartition("/")
    return group, key


def _contents(path: Path, names: list[str], axes: str, engine: str) -> Contents:
    parts, last = names[0].split("/")[:-1], [name.rpartition("/")[2] for name in names]
    groups: dict[str, dict[str, Any]] = {}
    neighbours: list[Neighbour] = []
    with guarded(str(path), DAMAGED):
        for depth in reversed(range(len(parts) + 1)):  # the movie's group first: it says what its dimensions are called
            group = "/".join(parts[:depth])
            with _dataset(path, group, engine) as dataset:
                groups[group] = portable(dataset.attrs)
                if depth == len(parts):
                    found = dataset.variables[last[0]].dims
                    renamed = {d: DIMS[letter] for d, letter in zip(found, axes, strict=True) if d.startswith("phony_dim_")}
                    dims = tuple(renamed.get(d, str(d)) for d in found)
                    attrs = tuple(portable(dataset.variables[name].attrs) for name in last)
                for key, array in dataset.variables.items():
                    name = f"{group}/{key}" if group else str(key)
                    if name not in names:
                        own = tuple(renamed.get(d, str(d)) for d in array.dims)
                        neighbours.append(Neighbour(name, own, array.shape, portable(array.attrs)))
    return Contents(dims if len(set(dims)) == len(dims) else None, attrs, groups, neighbours, decoded=True)


def _dataset(path: Path, group: str, engine: str) -> Any:
    options: dict[str, Any] = {"phony_dims": "sort"} if engine == "h5netcdf" else {}
    if group:
        options["group"] = group
    return _library("xarray").open_dataset(
        str(path), engine=engine, decode_cf=False, create_default_indexes=False, cache=False, **options
    )


def _values(path: Path, group: str, key: str, engine: str) -> np.ndarray:
    with guarded(f"{path}: {key}", DAMAGED), _dataset(path, group, engine) as dataset:
        return np.asarray(dataset.variables[key].values)


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(f"writing NetCDF needs {name}; type: pip install 'vsr[netcdf]'") from error
