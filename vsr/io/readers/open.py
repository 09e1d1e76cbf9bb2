"""Float movies from .mat (4 to 7.3), HDF5, NetCDF, Zarr, .npy and .npz: one lazy interface, whatever the file.

What a file is follows from its content, not from its name. Axes are never guessed: they are given, or named in the file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from vsr.errors import UserError, suggestion
from vsr.io.readers import axes as axis_rules
from vsr.io.readers.axes import Unspecified
from vsr.io.readers.base import Details, Listing, Source, Variable, bytes_text, described, shown
from vsr.io.readers.isolated.proxies import IsolatedSource

__all__ = ["SUFFIXES", "ArrayMovie", "Listing", "Unspecified", "Variable", "list_variables", "open_movie", "scan"]

SUFFIXES = (".mat", ".h5", ".hdf5", ".nc", ".zarr", ".zip", ".npy", ".npz")
BLOCK_BYTES = 2**28  # of float32 that are read at once: what reading takes besides the values does not grow with a movie
HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
MATLAB_5, MATLAB_73 = (b"\x00\x01IM", b"\x01\x00MI"), (b"\x00\x02IM", b"\x02\x00MI")


class ArrayMovie:
    """Independent movies of one array, or of several as channels. Reads on demand; picklable, files open once per process.

    Attributes:
        name: file and variables, for errors and figures.
        shape: (movies, C, T, H, W).
        axes: the meaning of each index of the array in the file, e.g. "tyx".
        meta: format, variable, axes, units, dims and attrs; plain values only.
    """

    def __init__(self, source: Source, variables: Sequence[Variable], axes: str, details: Sequence[Details]) -> None:
        first, names = variables[0], [variable.name for variable in variables]
        self._source, self._names, self.axes = source, names, axes
        size = dict(zip(axes, first.shape, strict=True))
        self.name = f"{source.path}:{','.join(map(shown, names))}"
        self.shape = (size.get("n", 1), size.get("c", len(names)), size["t"], size["y"], size["x"])
        units = [variable.units for variable in variables]
        self.meta: dict[str, Any] = {
            "format": source.format,
            "variable": names if len(names) > 1 else names[0],
            "axes": axes,
            "units": units[0] if len(set(units)) == 1 else units,
            "dims": list(first.dims) if first.dims else None,
            "attrs": details[0].attrs,
        }

    def read(self, movie: int, start: int, stop: int) -> np.ndarray:
        """float32 (C, T, H, W) of the frames start..stop-1 of one movie, in physical units, NaN where values are missing.

        Reads no more than that from HDF5, MATLAB 7.3, NetCDF, Zarr (whole chunks), .npy and uncompressed .npz; MATLAB 4 and 5
        and compressed .npz are read whole at the first call. Raises UserError for a damaged file, IndexError for frames that
        are not there.
        """
        if not (0 <= movie < self.shape[0] and 0 <= start < stop <= self.shape[2]):
            raise IndexError(f"{self.name}: frames {start}..{stop} of movie {movie} are not in {self.shape}")
        _, channels, _, height, width = self.shape
        step = max(1, BLOCK_BYTES // (4 * channels * height * width))
        if stop - start <= step:
            return self._block(movie, start, stop)
        values = np.empty((channels, stop - start, height, width), np.float32)
        for first in range(start, stop, step):
            last = min(first + step, stop)
            values[:, first - start : last - start] = self._block(movie, first, last)
        return values

    def _block(self, movie: int, start: int, stop: int) -> np.ndarray:
        wanted = {"n": slice(movie, movie + 1), "t": slice(start, stop)}
        part = tuple(wanted.get(letter, slice(None)) for letter in self.axes)
        channels = [axis_rules.arranged(self._source.read(name, part), self.axes)[0] for name in self._names]
        return channels[0] if len(channels) == 1 else np.concatenate(channels)


def scan(path: Path) -> Listing:
    """Format, numeric arrays, and why other contents are none. Raises UserError for a file that cannot or must not be read."""
    return _open_source(Path(path)).listing()


def list_variables(path: Path) -> list[Variable]:
    """Every numeric array in the file. Raises UserError for a file that cannot or must not be read."""
    return list(scan(path).variables)


def open_movie(path: Path, *, variable: str | list[str] | None, axes: str | None, max_bytes: int = 2**40) -> ArrayMovie:
    """The movie in a file, without reading a value of it.

    Args:
        path: a local file or Zarr folder.
        variable: its name; several of the same shape become channels; None when it is the only array of 3 or more dimensions.
        axes: the meaning of each index in the file's own order (.mat: MATLAB's), from n (movies), c (channels), t, y, x;
            None when the file names its dimensions.
        max_bytes: the largest size as float32 that a file may declare.

    Raises UserError for a file, variable or axes that cannot be used; its subclass Unspecified when one must be given.
    """
    source = _open_source(Path(path))
    listing = source.listing()
    names = [variable] if isinstance(variable, str) else list(variable) if variable is not None else [_only(source, listing)]
    if not names:
        raise UserError(f"{path}: data.variable=[] names no variable; type data.variable=NAME")
    variables = [_find(source, listing, name) for name in names]
    first = variables[0]
    for other in variables:
        where = f"{path}: {shown(other.name)}"
        if not 3 <= len(other.shape) <= 5:
            raise UserError(
                f"{where} is {described(other.shape)}, of {len(other.shape)} dimensions; a movie has 3 (time, rows, "
                f"columns) to 5; type data.variable=NAME of another one"
            )
        if (other.shape, other.dims) != (first.shape, first.dims):
            raise UserError(
                f"{where} is {described(other.shape)}{_dims_text(other)}, {shown(first.name)} is "
                f"{described(first.shape)}{_dims_text(first)}; variables that become channels must be alike"
            )
    total = 4 * sum(prod(v.shape) for v in variables)
    if total > max_bytes:
        raise UserError(
            f"{path}: {', '.join(shown(n) for n in names)} of {described(first.shape)} declares {bytes_text(total)} as float32, "
            f"more than the limit of {bytes_text(max_bytes)}; type data.max_bytes={total} if it is that large"
        )
    where = f"{path}: {shown(first.name)}"
    details = [source.details(v.name) for v in variables]
    if axes is not None:
        letters = axis_rules.check(axes, first, where)
    else:
        letters = axis_rules.infer(first, details[0].coordinates, where, source.format.startswith("MATLAB"))
    if len(variables) > 1 and "c" in letters:
        raise UserError(f"{where}: axes {letters} have channels already; type one variable, data.variable={shown(first.name)}")
    return ArrayMovie(source, variables, letters, details)


def _only(source: Source, listing: Listing) -> str:
    """The name of the one array that can be a movie. Raises Unspecified, with all candidates, when there are more."""
    candidates = [v for v in listing.variables if len(v.shape) >= 3]
    if len(candidates) == 1:
        return candidates[0].name
    if candidates:
        found = ", ".join(f"{shown(v.name)} ({described(v.shape)} {v.dtype})" for v in candidates[:20])
        more = f" and {len(candidates) - 20} more" if len(candidates) > 20 else ""
        raise Unspecified(f"{source.path}: several arrays can be the movie: {found}{more}; type data.variable=NAME")
    others = [f"{shown(v.name)} is {described(v.shape)}" for v in listing.variables]
    others += [f"{shown(name)} {problem}" for name, problem in listing.refused.items()]
    found = "; ".join(others[:8]) or "nothing else either"
    raise UserError(f"{source.path}: no numeric array of 3 or more dimensions ({found}); give another file")


def _find(source: Source, listing: Listing, name: str) -> Variable:
    for found in listing.variables:
        if found.name == name.strip("/"):
            return found
    if (problem := listing.refused.get(name.strip("/"))) is not None:
        raise UserError(f"{source.path}: {shown(name)} {problem}")
    known = [shown(v.name) for v in listing.variables]
    hint = suggestion(shown(name), known) if known else "; it holds no numeric array"
    raise UserError(f"{source.path}: data.variable={shown(name)}: there is no such array{hint}")


def _dims_text(variable: Variable) -> str:
    return f" ({', '.join(map(shown, variable.dims))})" if variable.dims else ""


def _open_source(path: Path) -> Source:
    """The reader for what the file is. Raises UserError when it is nothing that can be read."""
    from vsr.io.readers.zarr_store import ZarrSource, is_store

    if re.match(r"[a-z][a-z0-9+.-]+:/", str(path)):
        raise UserError(f"{path}: an address is not read; download it and give the local file")
    if path.is_dir():
        if is_store(path):
            return IsolatedSource(ZarrSource(path))
        raise UserError(f"{path}: a folder without Zarr metadata; give a file or a .zarr folder")
    if not path.exists():
        raise UserError(f"{path}: no such file; type data.path=FILE")
    if not path.is_file() or path.suffix.lower() not in SUFFIXES:
        raise UserError(f"{path}: not one of {', '.join(SUFFIXES)}")
    try:
        return _by_content(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be opened ({error.strerror}); check its permissions") from error


def _by_content(path: Path) -> Source:
    with path.open("rb") as file:
        head = file.read(128)
        hdf5 = head.startswith(HDF5_SIGNATURE)
        for offset in (512, 1024, 2048, 4096):  # behind a user block
            file.seek(offset)
            hdf5 = hdf5 or file.read(8) == HDF5_SIGNATURE
    if hdf5:
        from vsr.io.readers.hdf5 import HDF5Source, MatlabHDF5Source

        if head[124:128] in MATLAB_73:
            return IsolatedSource(MatlabHDF5Source(path))
        if path.suffix.lower() != ".nc":
            return IsolatedSource(HDF5Source(path))
    if hdf5 or head[:4] in (b"CDF\x01", b"CDF\x02"):
        from vsr.io.readers.netcdf import NetCDFSource

        return IsolatedSource(NetCDFSource(path, "h5netcdf" if hdf5 else "scipy"))
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        from vsr.io.readers.numpy_files import NpzSource
        from vsr.io.readers.zarr_store import ZarrSource, is_store

        return IsolatedSource(ZarrSource(path)) if is_store(path) else NpzSource(path)
    if head.startswith(b"\x93NUMPY"):
        from vsr.io.readers.numpy_files import NpySource

        return NpySource(path)
    from vsr.io.readers.matlab import MatlabSource, looks_like_v4

    if head[124:128] in MATLAB_5:
        return MatlabSource(path, 5)
    if path.suffix.lower() == ".mat" and looks_like_v4(head):
        return MatlabSource(path, 4)
    raise UserError(f"{path}: {_unknown(head)}; give a complete file of the kind that its name ({path.suffix}) promises")


def _unknown(head: bytes) -> str:
    """What a file is that no reader takes."""
    if not head:
        return "empty, 0 bytes"
    if head[124:128] in MATLAB_73:
        return "a MATLAB 7.3 header without the HDF5 file behind it, cut short"
    if head.startswith(b"CDF\x05"):
        return "NetCDF in its 64-bit data format, which is not read (nccopy -k nc4 converts it)"
    if all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head[:64]):
        return f"text ({shown(head[:20].decode())} ...), not arrays"
    return "not a format that is read, or damaged at its beginning"
