"""What the finer version of a movie file is to hold, from the file itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from vsr.io.readers.base import shown
from vsr.io.readers.open import open_movie, scan
from vsr.io.writers.metadata import Contents, carried_over, data_attrs, portable
from vsr.io.writers.template import DIMS, Field, Template, format_of

TITLES = {"npy": "NumPy .npy", "npz": "NumPy .npz", "hdf5": "HDF5", "netcdf": "NetCDF-4", "zarr": "Zarr", "matlab": "MATLAB 7.3"}
OWN = {
    "NumPy .npy": "npy",
    "NumPy .npz": "npz",
    "HDF5": "hdf5",
    "NetCDF (HDF5-based)": "netcdf",
    "NetCDF (classic)": "netcdf",
    "Zarr": "zarr",
    "MATLAB 7.3": "matlab",
    "MATLAB 5": "matlab",
    "MATLAB 4": "matlab",
}
BARE = ("npy", "npz", "matlab")  # formats without attributes


def template_of(
    path: Path,
    variable: str | list[str] | None,
    axes: str | None,
    scale: int,
    history: str = "",
    suffix: str | None = None,
    max_bytes: int = 2**40,
) -> Template:
    """What a movie file becomes when each pixel of each frame becomes scale x scale.

    Names, units, order of axes, other attributes, time and the like stay; coordinates of rows and columns are refined
    (`coordinates.refine`); values are float32, unpacked. What cannot go with it is in `left_out` and `notes`.

    Args:
        path: the input, of any format that `open_movie` reads; variable, axes, max_bytes: as there.
        scale: SR pixels per LR pixel, along rows and along columns.
        history: a line for the attribute `history`, without a time of day where equal runs are to give equal files.
        suffix: ending of the output; None for the input's.

    Raises UserError for an input that cannot be read, or a suffix of no format that is written.
    """
    path = Path(path)
    movie = open_movie(path, variable=variable, axes=axes, max_bytes=max_bytes)
    known, origin = movie.meta["variable"], movie.meta["format"]
    made, own = format_of(path if suffix is None else Path(f"output{suffix}")), OWN[origin]
    names = [known] if isinstance(known, str) else list(known)
    contents = _contents(path, names, movie.axes, origin)
    if made != "zarr" or own != "zarr":
        contents = _portable(contents)
    every = carried_over(contents, movie.axes, scale, decode=made != own)
    fields = [entry for entry in every if _holds(made, entry)]
    attrs, dims, groups = data_attrs(contents, fields), contents.dims, contents.groups
    if made in BARE:
        attrs, dims, groups = (), None, {}
    elif dims is None and (made == "netcdf" or (made == "zarr" and own != "zarr")):
        # A variable called like one of its dimensions would be taken for its coordinate.
        dims = tuple(f"{DIMS[letter]}_dim" if DIMS[letter] in names else DIMS[letter] for letter in movie.axes)
    listing = scan(path)
    kinds = {v.name: np.dtype(v.dtype).name for v in listing.variables if v.name in names}
    others = {shown(name): kind for name, kind in kinds.items() if kind != "float32"}
    notes = [f"{name} is {kind} in {path.name}, float32 in the output" for name, kind in others.items()]
    if TITLES[made] not in (origin, TITLES[own]) or origin in ("NetCDF (classic)", "MATLAB 4", "MATLAB 5"):
        lost = " without units, names of dimensions and other attributes" if made in BARE and own not in BARE else ""
        notes.append(f"{origin} becomes {TITLES[made]}{lost}")
    kept, letters = {*names, *(entry.name for entry in fields)}, movie.axes
    if made == "npy" and len(names) > 1:
        names, letters = [path.stem], letters.replace("t", "tc")
        notes.append(f"a .npy holds one array: the variables are its channels, axes={letters}")
    names, fields = _named(made, names, fields)
    n, c, t, y, x = movie.shape
    return Template(
        format=made,
        names=tuple(names),
        axes=letters,
        shape=(n, c, t, y * scale, x * scale),
        dims=dims,
        attrs=attrs,
        fields=tuple(fields),
        groups=groups,
        history=history,
        storage=contents.storage if made == "zarr" else {},
        left_out=tuple(name for name in (*(v.name for v in listing.variables), *listing.refused) if name not in kept),
        notes=tuple(notes),
    )


def _contents(path: Path, names: list[str], axes: str, origin: str) -> Contents:
    """By the module of the input's format."""
    own = OWN[origin]
    if own == "hdf5":
        from vsr.io.writers import hdf5

        return hdf5.contents(path, names, axes)
    if own == "netcdf":
        from vsr.io.writers import netcdf

        return netcdf.contents(path, names, axes, "scipy" if origin == "NetCDF (classic)" else "h5netcdf")
    if own == "zarr":
        from vsr.io.writers import zarr_store

        return zarr_store.contents(path, names, axes)
    if own == "matlab":
        from vsr.io.writers import matlab

        return matlab.contents(path, names, origin)
    if own == "npz":
        from vsr.io.writers import numpy_files

        return numpy_files.npz_contents(path, names)
    return Contents()


def _portable(contents: Contents) -> Contents:
    """With attributes that every format can hold."""
    return replace(
        contents,
        attrs=tuple(portable(attrs) for attrs in contents.attrs),
        groups={group: portable(attrs) for group, attrs in contents.groups.items()},
        neighbours=[replace(entry, attrs=portable(entry.attrs)) for entry in contents.neighbours],
    )


def _holds(made: str, entry: Field) -> bool:
    """Whether a format can hold a field: texts are for HDF5 and NetCDF."""
    numbers = entry.values.dtype.kind in "iuf"
    return made != "npy" and (numbers or (made in ("hdf5", "netcdf") and entry.values.dtype.kind in "OSU"))


def _named(made: str, names: Sequence[str], fields: Sequence[Field]) -> tuple[list[str], list[Field]]:
    """MATLAB has its own rules for names; other formats take any."""
    if made != "matlab":
        return list(names), list(fields)
    from vsr.io.writers.matlab import identifier

    taken: set[str] = set()
    return [identifier(name, taken) for name in names], [replace(f, name=identifier(f.name, taken)) for f in fields]
