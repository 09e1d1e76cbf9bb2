"""Reader of HDF5 files. Links and values outside of the file are never followed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vsr.errors import UserError
from vsr.io.readers import base
from vsr.io.readers.attributes import plain_attributes, portable_attributes, units_attribute
from vsr.io.readers.axes import DIMENSION_NAMES
from vsr.io.readers.base import ArrayAttributes, ArrayReader, AuxiliaryArray, Metadata, Part, Variable, reader_errors
from vsr.io.readers.packing import Packing, coordinate_values
from vsr.io.readers.printable import printable_name
from vsr.system.address import Address

if TYPE_CHECKING:
    import h5py

DAMAGED = "the file is damaged, or its writer was killed; write or fetch it again"
SIGNATURE = b"\x89HDF\r\n\x1a\n"
OFFSETS = (0, 512, 1024, 2048, 4096)  # of the signature: a user block may stand before it
# Attributes that HDF5 and NetCDF write themselves, to say how datasets hang together.
INTERNAL = (
    *("CLASS", "NAME", "DIMENSION_LIST", "DIMENSION_LABELS", "REFERENCE_LIST"),
    *("_Netcdf4Dimid", "_Netcdf4Coordinates", "_NCProperties", "_nc3_strict"),
)
PLACEHOLDER = b"This is a netCDF dimension but not a netCDF variable"


def is_hdf5(head: bytes) -> bool:
    """Return True if a file with the first bytes `head` is HDF5, perhaps behind a user block."""
    return any(head[offset : offset + 8] == SIGNATURE for offset in OFFSETS)


def open_hdf5(path: Path) -> h5py.File:
    """Open an HDF5 file for reading. A UserError tells whether the file is open elsewhere for writing, cut short or damaged."""
    import h5py

    with suppress(ImportError):  # the extra hdf5: its import adds compressions to HDF5
        import hdf5plugin  # noqa: F401
    file: Any = open_remote_file(path) if isinstance(path, Address) else str(path)
    try:
        return h5py.File(file, "r")
    except Exception as error:
        text = str(error)
        if "already open" in text or "unable to lock" in text:
            raise UserError(
                f"{path}: another program has it open for writing, or was killed while it had; close that program, "
                f"or type: h5clear --status FILE"
            ) from error
        if "truncated" in text:
            raise UserError(f"{path}: cut short, or its writer was killed; fetch or write the file again") from error
        raise UserError(f"{path}: not readable as HDF5 ({printable_name(text)}); {DAMAGED}") from error


def open_remote_file(address: Address) -> Any:
    """Open a file at an address, of which parts are fetched as they are read.

    Raises:
        UserError: If there is no such file, it cannot be reached, or its server sends no parts of files.
    """
    system, root = address.located()
    try:
        file = system.open(root, "rb")
        file.seek(1)
        file.read(1)
        file.seek(0)
    except FileNotFoundError as error:
        raise UserError(f"{address}: no such file or store; check the address") from error
    except ValueError as error:  # of fsspec, for a server without ranges
        raise UserError(f"{address}: its server sends no parts of files; download it and give the local file") from error
    except Exception as error:  # each service has its own errors
        raise address.unreached(error) from error
    return file


def hdf5_outside_problem(dataset: h5py.Dataset) -> str | None:
    """Return the reason why a dataset's values may lie in another file, or None if they lie in the dataset's own file."""
    if dataset.is_virtual:
        return "is a virtual dataset, made of other files; copy its values into one file"
    if dataset.external:
        name = printable_name(str(dataset.external[0][0]))
        return f"has its values in another file ({name}), which is not followed; copy them into one"
    return None


def walk_hdf5(
    file: h5py.File, enter: Callable[[h5py.Group], bool] = lambda group: True
) -> Iterator[tuple[str, h5py.Dataset | h5py.Group | None, str | None]]:
    """Walk over all objects of an HDF5 file that hard links reach; enter each group once.

    Args:
        file: An open file.
        enter: Function that tells whether to descend into a group.

    Yields:
        (path inside the file, object, None), or (path, None, reason) for a link that is not followed.
    """
    import h5py

    groups: list[tuple[str, h5py.Group]] = [("", file)]
    seen = {h5py.h5o.get_info(file.id).addr}
    while groups:
        prefix, group = groups.pop(0)
        for key in group:
            name = prefix + key
            link = group.get(key, getlink=True)
            if isinstance(link, h5py.SoftLink):
                target = printable_name(link.path)
                yield name, None, f"is a link to {target}, which is not followed; name the array that it leads to"
            elif not isinstance(link, h5py.HardLink):
                target = printable_name(str(getattr(link, "filename", "elsewhere")))
                yield name, None, f"is a link into another file ({target}), which is not followed; copy the array into this one"
            else:
                item = group[key]
                address = h5py.h5o.get_info(item.id).addr
                if isinstance(item, h5py.Group) and address not in seen:
                    seen.add(address)
                    if enter(item):
                        groups.append((name + "/", item))
                    yield name, item, None
                elif isinstance(item, h5py.Dataset):
                    yield name, item, None


class HDF5Reader(ArrayReader):
    """Reader of any HDF5 file. An array is named by its path, with groups separated by "/".

    Packed values are unpacked, and missing values become NaN, as the attributes of the array declare them.
    """

    name = "hdf5"
    suffixes: tuple[str, ...] = (".h5", ".hdf5", ".he5")
    format = "HDF5"
    advice = DAMAGED

    @classmethod
    def recognize(cls, path: Path, head: bytes) -> ArrayReader | None:
        return cls(path) if is_hdf5(head) else None

    def _open(self) -> h5py.File:
        return open_hdf5(self.path)

    def _entries(self) -> Iterator[tuple[str, Variable | str]]:
        import h5py

        for name, item, problem in self._walk():
            problem = problem or self._problem(item)
            if problem is not None:
                yield name, problem
            elif isinstance(item, h5py.Dataset):
                yield name, self._variable(name, item)

    def details(self, name: str) -> ArrayAttributes:
        where = f"{self.path}: {printable_name(name)}"
        with self._errors(name):
            dataset = self._dataset(name)
            base.check_reader_chunk(where, dataset.chunks, dataset.dtype.itemsize)
            if (missing := _missing_filter(dataset)) is not None:
                raise UserError(f"{where}: is compressed by the HDF5 filter {missing}; type: pip install 'vsr-movies[hdf5]'")
            if not dataset.id.get_storage_size():
                raise UserError(f"{where}: declared but never written; write the values first")
            scales = [_scale(dimension) for dimension in dataset.dims]
            coordinates = tuple(plain_attributes(hdf5_attributes(s)) if s is not None else {} for s in scales)
            return ArrayAttributes(plain_attributes(hdf5_attributes(dataset)), coordinates)

    def read(self, name: str, part: Part) -> np.ndarray:
        with reader_errors(f"{self.path}: {printable_name(name)}", f"{DAMAGED}, or with a compression that this HDF5 has"):
            dataset = self._dataset(name)
            return Packing.from_attributes(hdf5_attributes(dataset), dataset.dtype).decode(dataset[part])

    def metadata(self, names: Sequence[str], axes: Sequence[str]) -> Metadata:
        """Read what an output keeps besides the values. If any dimension has a name, the others get one, e.g. "time"."""
        import h5py

        file = self.handle
        with self._errors():
            movie = file[names[0]]
            known = [_dimension_name(dimension) for dimension in movie.dims]
            full = tuple(name or DIMENSION_NAMES.get(axes[i], f"dim_{i}") for i, name in enumerate(known))
            dims = full if any(known) and len(set(full)) == len(full) else None
            scales = [_scale(dimension) for dimension in movie.dims]
            attached = {scale.name: dims[i] for i, scale in enumerate(scales) if scale is not None and dims is not None}
            groups = {"": _portable(file)}
            for name in names:
                parts = name.split("/")[:-1]
                for depth in range(1, len(parts) + 1):
                    groups["/".join(parts[:depth])] = _portable(file["/".join(parts[:depth])])
            neighbours = [
                neighbour
                for name, item, problem in walk_hdf5(file)
                if problem is None and isinstance(item, h5py.Dataset) and name not in names
                if (neighbour := _neighbour(name, item, attached.get(item.name))) is not None
            ]
            attrs = tuple(_portable(file[name]) for name in names)
            grows = "".join(letter for n, letter in zip(movie.maxshape, axes, strict=True) if n is None)
            return Metadata(dims, attrs, groups, neighbours, unlimited=grows)

    def coordinate(self, name: str, dimension: int) -> np.ndarray | None:
        with self._errors(name):
            scale = _scale(self._dataset(name).dims[dimension])
            if scale is None or hdf5_outside_problem(scale) is not None or is_placeholder(scale):
                return None
            return coordinate_values(scale.asstr()[()] if scale.dtype.kind in "SO" else scale[()], hdf5_attributes(scale))

    def read_stored(self, name: str) -> np.ndarray:
        import h5py

        with self._errors(name):
            dataset = self.handle[name]
            if (problem := hdf5_outside_problem(dataset)) is not None:
                raise UserError(f"{self.path}: {printable_name(name)} {problem}")
            return np.asarray(dataset.asstr()[()] if h5py.check_string_dtype(dataset.dtype) else dataset[()])

    def _walk(self) -> Iterator[tuple[str, h5py.Dataset | h5py.Group | None, str | None]]:
        return walk_hdf5(self.handle)

    def _problem(self, item: h5py.Dataset | h5py.Group | None) -> str | None:
        import h5py

        if not isinstance(item, h5py.Dataset):
            return None
        if (problem := hdf5_outside_problem(item)) is not None:
            return problem
        if item.shape is None:
            return "is empty"
        return base.reader_array_problem(item.dtype, item.shape)

    def _variable(self, name: str, item: h5py.Dataset) -> Variable:
        names = tuple(_dimension_name(dimension) for dimension in item.dims)
        units = units_attribute(hdf5_attributes(item))
        return Variable(name, item.shape, str(item.dtype), names if names and all(names) else None, units)

    def _dataset(self, name: str) -> h5py.Dataset:
        """Return the dataset `name`, checked again at each read because the file may have changed since it was listed."""
        dataset = self.handle[name]
        if (problem := self._problem(dataset)) is not None:
            raise UserError(f"{self.path}: {printable_name(name)} {problem}")
        return dataset


def hdf5_attributes(item: h5py.Dataset | h5py.Group) -> dict[str, Any]:
    """Return the attributes of a dataset or group; leave out attributes of a type that h5py cannot read."""
    out: dict[str, Any] = {}
    for key in item.attrs:
        with suppress(Exception):
            out[key] = item.attrs[key]
    return out


def is_placeholder(item: h5py.Dataset) -> bool:
    """Return True for a dimension scale without values of its own, as NetCDF-4 writes it for a dimension without a coordinate."""
    name = item.attrs.get("NAME", b"")
    return isinstance(name, bytes) and name.startswith(PLACEHOLDER)


def _missing_filter(dataset: h5py.Dataset) -> str | None:
    """Return the name or number of a filter of the dataset that this HDF5 does not have, or None."""
    import h5py

    properties = dataset.id.get_create_plist()
    for number in range(properties.get_nfilters()):
        code, _, _, name = properties.get_filter(number)
        if not h5py.h5z.filter_avail(code):
            return printable_name(name.decode("utf-8", "replace")) or str(code)
    return None


def _portable(item: h5py.Dataset | h5py.Group) -> dict[str, Any]:
    return portable_attributes({key: value for key, value in hdf5_attributes(item).items() if key not in INTERNAL})


def _scale(dimension: Any) -> h5py.Dataset | None:
    """Return the coordinate attached to a dimension, or None if no coordinate is attached or the reference is broken."""
    with suppress(Exception):
        if len(dimension):
            return dimension[0]
    return None


def _dimension_name(dimension: Any) -> str:
    scale = _scale(dimension)
    return str(dimension.label or (scale.name.rpartition("/")[2] if scale is not None else ""))


def _neighbour(name: str, item: h5py.Dataset, dim: str | None) -> AuxiliaryArray | None:
    """Describe a dataset beside the movie, or return None if it has no own values; `dim`: movie dimension that it scales."""
    if item.shape is None or hdf5_outside_problem(item) is not None or is_placeholder(item):
        return None
    dims = tuple(_dimension_name(dimension) for dimension in item.dims)
    if dim is not None or (item.is_scale and len(item.shape) == 1):
        dims = (dim or name.rpartition("/")[2],)
    return AuxiliaryArray(name, dims, item.shape, _portable(item), coordinate=dim is not None, text=item.dtype.kind in "SO")
