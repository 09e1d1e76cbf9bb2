"""Writer of NetCDF-4 files through h5netcdf, with CF dimensions and attributes. Times are copied, not decoded."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from vsr.errors import UserError
from vsr.io.readers.axes import DIMENSION_NAMES
from vsr.io.writers.contiguous import ContiguousWriter
from vsr.io.writers.hdf5 import EARLY, frame_offsets_in_hdf5, hdf5_pixel_options, offsets_in_written_hdf5
from vsr.io.writers.template import OutputTemplate


class NetCDFWriter(ContiguousWriter):
    """Writer of NetCDF-4 files."""

    name = "netcdf"
    suffixes = (".nc", ".nc4", ".cdf")
    title = "NetCDF-4"
    field_kinds = "iufOSU"
    growing = True

    def needs_dims(self, origin: str) -> bool:
        return True

    def create(self, path: Path, template: OutputTemplate) -> list[int]:
        """Write a file without pixels and return each array's byte offset, or [] if a dimension can grow."""
        h5netcdf = _library("h5netcdf")
        if template.dims is None:
            template = replace(template, dims=tuple(DIMENSION_NAMES[letter] for letter in template.axes))
        with h5netcdf.File(path, "w", **EARLY) as file:
            for path_of_group, attrs in template.group_attrs.items():
                _group(file, path_of_group).attrs.update(attrs)
            for dim, size in template.dim_sizes().items():
                group = _group(file, _home(dim, template))
                group.dimensions[dim] = None if dim in template.unlimited_dims else size
                if dim in template.unlimited_dims:
                    group.resize_dimension(dim, size)
            for entry in template.fields:
                attrs = dict(entry.attrs)
                values, fill = _storable(entry.values), attrs.pop("_FillValue", None)
                _variable(file, entry.name, entry.dims, attrs, dtype=values.dtype, data=values, fillvalue=fill)
            for i, name in enumerate(template.names):
                kind = np.dtype(template.dtype)
                options = {"dtype": kind, "fillvalue": kind.type(np.nan), **hdf5_pixel_options(template)}
                _variable(file, name, template.dims or (), template.attrs_of(i), **options)
        return offsets_in_written_hdf5(path, template)

    def frame_offsets(self, path: Path, template: OutputTemplate) -> list[int]:
        return frame_offsets_in_hdf5(path, template)


def _variable(file: Any, path: str, dims: tuple[str, ...], attrs: Mapping[str, Any], **options: Any) -> None:
    group, _, name = path.rpartition("/")
    _group(file, group).create_variable(name, dims, track_times=False, **options).attrs.update(attrs)


def _group(file: Any, path: str) -> Any:
    for name in filter(None, path.split("/")):
        file = file.groups[name] if name in file.groups else file.create_group(name)
    return file


def _home(dim: str, template: OutputTemplate) -> str:
    """Return the group that defines a dimension: the group of the coordinate of the same name, or else of the movie."""
    homes = [entry.name.rpartition("/")[0] for entry in template.fields if entry.name.rpartition("/")[2] == dim]
    return min(homes, key=len) if homes else template.names[0].rpartition("/")[0]


def _storable(values: np.ndarray) -> np.ndarray:
    """Convert values to a type that NetCDF has: texts to strings of variable length, float16 to float32."""
    if values.dtype.kind in "OU":
        return values.astype(h5py.string_dtype())
    return values.astype(np.float32) if values.dtype == np.float16 else values


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(f"writing NetCDF needs {name}; type: pip install 'vsr-movies[netcdf]'") from error
