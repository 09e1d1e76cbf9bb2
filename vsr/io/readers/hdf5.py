"""HDF5 files and MATLAB's version 7.3, which is HDF5 with reversed dimensions. Nothing outside the file is ever followed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
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

DAMAGED = "the file is damaged, or its writer was killed; write or fetch it again"


def open_hdf5(path: Path) -> h5py.File:
    """For reading. Raises UserError that tells a file cut short from one left open and from a damaged one."""
    try:
        return h5py.File(str(path), "r")
    except Exception as error:
        text = str(error)
        if "already open" in text or "unable to lock" in text:
            raise UserError(
                f"{path}: another program has it open for writing, or was killed while it had; close that program, "
                f"or type: h5clear --status FILE"
            ) from error
        if "truncated" in text:
            raise UserError(f"{path}: cut short, or its writer was killed; fetch or write the file again") from error
        raise UserError(f"{path}: not readable as HDF5 ({shown(text)}); {DAMAGED}") from error


def outside(dataset: h5py.Dataset) -> str | None:
    """Why the values of a dataset may lie in another file; None when they lie in its own."""
    if dataset.is_virtual:
        return "is a virtual dataset, made of other files; copy its values into one file"
    if dataset.external:
        return f"has its values in another file ({shown(str(dataset.external[0][0]))}), which is not followed; copy them into one"
    return None


def walk(file: h5py.File, deep: bool = True) -> Iterator[tuple[str, h5py.Dataset | h5py.Group | None, str | None]]:
    """(path inside the file, object, None), or (path, None, why it is not followed) of all that hard links reach, once."""
    groups: list[tuple[str, h5py.Group]] = [("", file)]
    seen = {h5py.h5o.get_info(file.id).addr}
    while groups:
        prefix, group = groups.pop(0)
        for key in group:
            name = prefix + key
            link = group.get(key, getlink=True)
            if isinstance(link, h5py.SoftLink):
                yield name, None, f"is a link to {shown(link.path)}, which is not followed; name the array that it leads to"
            elif not isinstance(link, h5py.HardLink):
                target = shown(str(getattr(link, "filename", "elsewhere")))
                yield name, None, f"is a link into another file ({target}), which is not followed; copy the array into this one"
            else:
                item = group[key]
                address = h5py.h5o.get_info(item.id).addr
                if isinstance(item, h5py.Group) and address not in seen:
                    seen.add(address)
                    if deep:
                        groups.append((name + "/", item))
                    yield name, item, None
                elif isinstance(item, h5py.Dataset):
                    yield name, item, None


class HDF5Source(Source):
    """Any HDF5 file; arrays are named by their path, groups separated by "/"."""

    format = "HDF5"

    def _open(self) -> h5py.File:
        return open_hdf5(self.path)

    def listing(self) -> Listing:
        variables: list[Variable] = []
        refused: dict[str, str] = {}
        with guarded(str(self.path), DAMAGED):
            for name, item, problem in self._walk():
                problem = problem or self._problem(item)
                if problem is not None:
                    refused[name] = problem
                elif isinstance(item, h5py.Dataset):
                    variables.append(self._variable(name, item))
        return Listing(self.format, tuple(variables), refused)

    def details(self, name: str) -> Details:
        where = f"{self.path}: {shown(name)}"
        with guarded(where, DAMAGED):
            dataset = self._dataset(name)
            check_chunk(where, dataset.chunks, dataset.dtype.itemsize)
            if not dataset.id.get_storage_size():
                raise UserError(f"{where}: declared but never written; write the values first")
            scales = [_scale(dimension) for dimension in dataset.dims]
            return Details(plain(_attrs(dataset)), tuple(plain(_attrs(s)) if s is not None else {} for s in scales))

    def read(self, name: str, part: Part) -> np.ndarray:
        with guarded(f"{self.path}: {shown(name)}", f"{DAMAGED}, or with a compression that this HDF5 has"):
            return self._dataset(name)[part]

    def _walk(self) -> Iterator[tuple[str, h5py.Dataset | h5py.Group | None, str | None]]:
        return walk(self.handle)

    def _problem(self, item: h5py.Dataset | h5py.Group | None) -> str | None:
        if not isinstance(item, h5py.Dataset):
            return None
        if (problem := outside(item)) is not None:
            return problem
        if item.shape is None:
            return "is empty"
        return kind_problem(item.dtype) or shape_problem(item.shape)

    def _variable(self, name: str, item: h5py.Dataset) -> Variable:
        scales = [_scale(dimension) for dimension in item.dims]
        pairs = zip(item.dims, scales, strict=True)
        names = tuple(d.label or (s.name.rpartition("/")[2] if s is not None else "") for d, s in pairs)
        return Variable(name, item.shape, str(item.dtype), names if names and all(names) else None, units_of(_attrs(item)))

    def _dataset(self, name: str) -> h5py.Dataset:
        """Looked up and checked again at each read: the file may have changed since it was listed."""
        dataset = self.handle[name]
        if (problem := self._problem(dataset)) is not None:
            raise UserError(f"{self.path}: {shown(name)} {problem}")
        return dataset


class MatlabHDF5Source(HDF5Source):
    """MATLAB 7.3: shapes and parts in MATLAB's index order, which is h5py's reversed."""

    format = "MATLAB 7.3"

    def _walk(self) -> Iterator[tuple[str, h5py.Dataset | h5py.Group | None, str | None]]:
        # Only the workspace: what lies deeper are the parts of structs and cells.
        return (entry for entry in walk(self.handle, deep=False) if not entry[0].startswith("#"))

    def _problem(self, item: h5py.Dataset | h5py.Group | None) -> str | None:
        if item is None:
            return None
        attrs = _attrs(item)
        kind = plain(attrs).get("MATLAB_class", "")
        if "MATLAB_sparse" in attrs:
            return "is a sparse matrix; store it with full()"
        if isinstance(item, h5py.Group):
            return f"is a {shown(str(kind) or 'group')}, not an array; store its field as a variable of its own"
        if kind == "logical":
            return "is boolean (logical), not real numbers; store it with single()"
        if kind in ("char", "cell", "struct", "function_handle", "table"):
            return f"is a {kind} array, not real numbers"
        return "is empty" if "MATLAB_empty" in attrs else super()._problem(item)

    def _variable(self, name: str, item: h5py.Dataset) -> Variable:
        return Variable(name, item.shape[::-1], str(item.dtype), None, None)

    def details(self, name: str) -> Details:
        return Details(super().details(name).attrs)

    def read(self, name: str, part: Part) -> np.ndarray:
        return super().read(name, part[::-1]).transpose()


def _scale(dimension: Any) -> h5py.Dataset | None:
    """The coordinate that is attached to a dimension; a broken reference to one says nothing."""
    with suppress(Exception):
        if len(dimension):
            return dimension[0]
    return None


def _attrs(item: h5py.Dataset | h5py.Group) -> dict[str, Any]:
    """Attributes that can be read; one of an unknown type is left out, as if it were not there."""
    out: dict[str, Any] = {}
    for key in item.attrs:
        with suppress(Exception):
            out[key] = item.attrs[key]
    return out
