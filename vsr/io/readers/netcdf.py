"""Reader of NetCDF files, classic and HDF5-based, through xarray (extra `netcdf`)."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vsr.errors import UserError
from vsr.io.readers import base
from vsr.io.readers.attributes import plain_attributes, portable_attributes, units_attribute
from vsr.io.readers.axes import DIMENSION_NAMES
from vsr.io.readers.base import ArrayAttributes, ArrayReader, AuxiliaryArray, Metadata, Part, Variable
from vsr.io.readers.hdf5 import HDF5Reader, hdf5_outside_problem, is_hdf5, open_hdf5, open_remote_file, walk_hdf5
from vsr.io.readers.packing import Packing, coordinate_values
from vsr.io.readers.printable import printable_name
from vsr.system.address import Address

MARKS = (b"_NCProperties", b"_Netcdf4", b"_nc3_strict")  # attributes and names that only NetCDF-4 has


class NetCDFReader(ArrayReader):
    """Reader of all groups of a NetCDF file. A variable is named by its path, with groups separated by "/".

    Packed values are unpacked, and missing values become NaN.
    """

    name = "netcdf"
    suffixes: tuple[str, ...] = (".nc", ".nc4", ".cdf")

    def __init__(self, path: Path, engine: str) -> None:
        super().__init__(path)
        self.engine = engine
        self.format = "NetCDF (HDF5-based)" if engine == "h5netcdf" else "NetCDF (classic)"
        self.superseded = engine == "scipy"

    @classmethod
    def recognize(cls, path: Path, head: bytes) -> ArrayReader | None:
        if is_hdf5(head):
            named = path.suffix.lower() in cls.suffixes
            # A name without a known ending, such as wrfout_d01_2020-01-01_00:00:00: NetCDF-4 leaves its marks near the beginning.
            marked = path.suffix.lower() not in HDF5Reader.suffixes and any(mark in head for mark in MARKS)
            return cls(path, "h5netcdf") if named or marked else None
        if head.startswith(b"CDF\x05"):
            raise UserError(
                f"{path}: NetCDF in its 64-bit data format, which is not read (nccopy -k nc4 converts it); "
                f"give a complete file of the kind that its name ({path.suffix}) promises"
            )
        return cls(path, "scipy") if head.startswith((b"CDF\x01", b"CDF\x02")) else None

    def _open(self) -> dict[str, Any]:
        """Return open datasets by the path of their group; refuse an HDF5-based file with links or values outside."""
        groups = self._groups() if self.engine == "h5netcdf" else [""]
        with self._errors():
            return {group: self._open_group(group) for group in groups}

    def _open_group(self, group: str) -> Any:
        """Open a group with its values as they are stored: `Packing` decodes them, as in all formats."""
        # Default indexes would read coordinates of whatever size the file declares.
        options: dict[str, Any] = {"decode_cf": False, "create_default_indexes": False, "cache": False}
        if self.engine == "h5netcdf":
            options["phony_dims"] = "sort"
        if group:
            options["group"] = group
        for module in ("xarray", "h5netcdf") if self.engine == "h5netcdf" else ("xarray",):
            base.import_reader_library(module, "reading NetCDF", "netcdf")
        import xarray

        with warnings.catch_warnings(action="ignore"):  # on damage, which is refused, and on names that occur twice
            file = open_remote_file(self.path) if isinstance(self.path, Address) else str(self.path)
            return xarray.open_dataset(file, engine=self.engine, **options)

    def _groups(self) -> list[str]:
        """List the paths of all groups; raise UserError for objects or values outside of the file: libraries read them."""
        import h5py

        groups = [""]
        with open_hdf5(self.path) as file, self._errors():
            for name, item, problem in walk_hdf5(file):
                if isinstance(item, h5py.Dataset):
                    problem = hdf5_outside_problem(item)
                elif item is not None:
                    groups.append(name)
                if problem is not None:
                    raise UserError(f"{self.path}: {printable_name(name)} {problem}")
        return groups

    def _entries(self) -> Iterator[tuple[str, Variable | str]]:
        for group, dataset in self.handle.items():
            for key, array in dataset.variables.items():
                name = f"{group}/{key}" if group else str(key)
                problem = base.reader_array_problem(array.dtype, array.shape)
                dims = tuple(map(str, array.dims))
                yield name, problem or Variable(name, array.shape, str(array.dtype), dims, units_attribute(array.attrs))

    def details(self, name: str) -> ArrayAttributes:
        where = f"{self.path}: {printable_name(name)}"
        dataset, array = self._array(name)
        with self._errors(name):
            base.check_reader_chunk(where, array.encoding.get("chunksizes"), array.dtype.itemsize)
            coordinates = [dataset.variables[d].attrs if d in dataset.variables else {} for d in array.dims]
            return ArrayAttributes(plain_attributes(array.attrs), tuple(map(plain_attributes, coordinates)))

    def read(self, name: str, part: Part) -> np.ndarray:
        with self._errors(name):
            array = self._array(name)[1]
            return Packing.from_attributes(array.attrs, array.dtype).decode(array[part].values)

    def metadata(self, names: Sequence[str], axes: Sequence[str]) -> Metadata:
        """Read attributes and other arrays of the movie's group and its parents. Unnamed dimensions get names, e.g. "time"."""
        _ = self.handle  # checks that the whole file lies in itself
        parts, last = names[0].split("/")[:-1], [name.rpartition("/")[2] for name in names]
        groups: dict[str, dict[str, Any]] = {}
        neighbours: list[AuxiliaryArray] = []
        unlimited: set[str] = set()
        with self._errors():
            for depth in reversed(range(len(parts) + 1)):  # the movie's group first: it names the movie's dimensions
                group = "/".join(parts[:depth])
                with self._open_group(group) as dataset:
                    groups[group] = portable_attributes(dataset.attrs)
                    unlimited |= {str(dim) for dim in dataset.encoding.get("unlimited_dims", ())}
                    if depth == len(parts):
                        found = zip(dataset.variables[last[0]].dims, axes, strict=True)
                        renamed = {d: DIMENSION_NAMES.get(letter, d) for d, letter in found if d.startswith("phony_dim_")}
                        dims = tuple(renamed.get(d, str(d)) for d in dataset.variables[last[0]].dims)
                        attrs = tuple(portable_attributes(dataset.variables[name].attrs) for name in last)
                    for key, array in dataset.variables.items():
                        name = f"{group}/{key}" if group else str(key)
                        if name not in names:
                            own = tuple(renamed.get(d, str(d)) for d in array.dims)
                            text = array.dtype.kind in "SUO"
                            attrs_of = portable_attributes(array.attrs)
                            neighbours.append(AuxiliaryArray(name, own, array.shape, attrs_of, text=text))
        grows = "".join(letter for dim, letter in zip(dims, axes, strict=True) if dim in unlimited)
        return Metadata(dims if len(set(dims)) == len(dims) else None, attrs, groups, neighbours, unlimited=grows)

    def coordinate(self, name: str, dimension: int) -> np.ndarray | None:
        with self._errors(name):
            dim = self._array(name)[1].dims[dimension]
            parts = name.split("/")[:-1]
            for depth in reversed(range(len(parts) + 1)):  # a dimension of a group above is described there
                dataset = self.handle.get("/".join(parts[:depth]))
                if dataset is not None and dim in dataset.variables and dataset.variables[dim].ndim == 1:
                    found = dataset.variables[dim]
                    return coordinate_values(found.values, found.attrs)
        return None

    def read_stored(self, name: str) -> np.ndarray:
        _ = self.handle  # checks that the whole file lies in itself
        group, _, key = name.rpartition("/")
        with self._errors(name), self._open_group(group) as dataset:
            return np.asarray(dataset.variables[key].values)

    def _array(self, name: str) -> tuple[Any, Any]:
        """Return the dataset of the group that holds the variable `name`, and the variable."""
        group, _, key = name.rpartition("/")
        dataset = self.handle[group]
        return dataset, dataset.variables[key]
