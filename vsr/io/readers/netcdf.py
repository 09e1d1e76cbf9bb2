"""NetCDF, classic and HDF5-based, through xarray (extra `netcdf`): packing and missing values are decoded, missing is NaN."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from vsr.errors import UserError
from vsr.io.readers.base import (
    Details,
    Listing,
    Part,
    Source,
    Variable,
    check_chunk,
    guarded,
    kind_problem,
    plain,
    shape_problem,
    shown,
    units_of,
)

DAMAGED = "the file is damaged or cut short; fetch or write it again"


def _xarray(engine: str) -> Any:
    try:
        import xarray

        if engine == "h5netcdf":
            import h5netcdf  # noqa: F401
    except ImportError as error:
        raise UserError(f"reading NetCDF needs {error.name or 'xarray'}; type: pip install 'vsr[netcdf]'") from error
    return xarray


class NetCDFSource(Source):
    """All groups of a NetCDF file; variables are named by their path, groups separated by "/"."""

    def __init__(self, path: Path, engine: str) -> None:
        super().__init__(path)
        self.engine = engine
        self.format = "NetCDF (HDF5-based)" if engine == "h5netcdf" else "NetCDF (classic)"

    def _open(self) -> dict[str, Any]:
        """Datasets by the path of their group. An HDF5 file is searched first for anything that leads out of it."""
        xarray = _xarray(self.engine)
        groups, options = [""], {}
        if self.engine == "h5netcdf":
            groups, options = self._groups(), {"phony_dims": "sort"}
        # Its remarks are on damage, which is refused, and on names that occur twice.
        with guarded(str(self.path), DAMAGED), warnings.catch_warnings(action="ignore"):
            return {
                group: xarray.open_dataset(
                    str(self.path),
                    engine=self.engine,
                    decode_times=False,
                    decode_timedelta=False,
                    decode_coords=False,
                    concat_characters=False,
                    create_default_indexes=False,  # they would read coordinates of whatever size the file declares
                    cache=False,
                    **({"group": group} if group else {}),
                    **options,
                )
                for group in groups
            }

    def _groups(self) -> list[str]:
        """Raises UserError when any object of the file is, or has its values, somewhere else: libraries follow it unasked."""
        import h5py

        from vsr.io.readers.hdf5 import open_hdf5, outside, walk

        groups = [""]
        with open_hdf5(self.path) as file, guarded(str(self.path), DAMAGED):
            for name, item, problem in walk(file):
                if isinstance(item, h5py.Dataset):
                    problem = outside(item)
                elif item is not None:
                    groups.append(name)
                if problem is not None:
                    raise UserError(f"{self.path}: {shown(name)} {problem}")
        return groups

    def listing(self) -> Listing:
        variables: list[Variable] = []
        refused: dict[str, str] = {}
        with guarded(str(self.path), DAMAGED):
            for group, dataset in self.handle.items():
                for key, array in dataset.variables.items():
                    name = f"{group}/{key}" if group else str(key)
                    stored = np.dtype(array.encoding.get("dtype", array.dtype))
                    problem = kind_problem(stored) or kind_problem(array.dtype) or shape_problem(array.shape)
                    if problem is not None:
                        refused[name] = problem
                        continue
                    dims = tuple(map(str, array.dims))
                    variables.append(Variable(name, array.shape, str(stored), dims, units_of(array.attrs)))
        return Listing(self.format, tuple(variables), refused)

    def details(self, name: str) -> Details:
        where = f"{self.path}: {shown(name)}"
        dataset, array = self._array(name)
        with guarded(where, DAMAGED):
            check_chunk(where, array.encoding.get("chunksizes"), np.dtype(array.encoding.get("dtype", array.dtype)).itemsize)
            coordinates = [dataset.variables[d].attrs if d in dataset.variables else {} for d in array.dims]
            return Details(plain(array.attrs), tuple(plain(attrs) for attrs in coordinates))

    def read(self, name: str, part: Part) -> np.ndarray:
        with guarded(f"{self.path}: {shown(name)}", DAMAGED):
            return self._array(name)[1][part].values

    def _array(self, name: str) -> tuple[Any, Any]:
        """The dataset of a variable's group, and the variable."""
        group, _, key = name.rpartition("/")
        dataset = self.handle[group]
        return dataset, dataset.variables[key]
