"""Description of an output file without its pixels (`OutputTemplate`), for any format."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


def output_dtype(dtype: np.dtype | str, offset: float | Sequence[float]) -> str:
    """Return the type of SR pixels: "<f8" for float64 LR, and for integers with an offset that float32 cannot hold, or "<f4".

    Args:
        dtype: Type of the LR pixels.
        offset: Physical value that is 0 in the network's frames, or one per channel; see
            `vsr.data.file_movies.set_common_offset`.
    """
    dtype = np.dtype(dtype)
    wide = dtype.itemsize > 4 if dtype.kind == "f" else bool(np.any(offset))
    return "<f8" if wide else "<f4"


@dataclass(frozen=True)
class AuxiliaryField:
    """Array beside the pixels of an output file, complete in memory: a coordinate, its bounds, a grid mapping or a scalar.

    Attributes:
        name: Path of the array in the file.
        dims: Name of each dimension.
        values: Values as stored; packed values stay packed, and then `attrs` describes the packing.
        attrs: Attributes of the array.
    """

    name: str
    dims: tuple[str, ...]
    values: np.ndarray
    attrs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class OutputTemplate:
    """Description of an SR file without its pixels, which are in physical units, little-endian, and NaN where missing.

    Attributes:
        format: Key of `vsr.io.formats.FORMATS`.
        names: Paths of the arrays within the file: one array, or one per channel, all of the same shape (.npy needs no name).
        axes: Meaning of each index of an array, e.g. "tyx", "yxt", "nctyx"; for .mat files in MATLAB's order.
        shape: (movies, channels, T, H, W) of the output.
        dtype: Type of the pixels: "<f4" or "<f8".
        dims: Name of each axis, or None.
        attrs: Attributes of each array: units, long_name ...
        fields: Coordinates and other small arrays that are carried over.
        groups: Attributes of each group, by the group's path; "" is the file itself.
        history: A line about this run, put before the history of the input; not part of the file's identity.
        storage: Options of the format (Zarr: version, compressors, consolidated, frames of a chunk, frames of a unit that one
            process writes).
        left_out: Names of the arrays of the input that the output does not have.
        notes: Further differences from the input, in sentences for the user.
        unlimited: Letters of the axes that can grow.
    """

    format: str
    names: tuple[str, ...]
    axes: str
    shape: tuple[int, int, int, int, int]
    dtype: str = "<f4"
    dims: tuple[str, ...] | None = None
    attrs: tuple[Mapping[str, Any], ...] = ()
    fields: tuple[AuxiliaryField, ...] = ()
    groups: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    history: str = ""
    storage: Mapping[str, Any] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    unlimited: str = ""

    @property
    def unlimited_dims(self) -> set[str]:
        """Return the names of the dimensions that can grow."""
        return {dim for dim, letter in zip(self.dims or (), self.axes, strict=bool(self.dims)) if letter in self.unlimited}

    @property
    def sizes(self) -> dict[str, int]:
        """Return the length of each axis in `axes`, by its letter."""
        return {letter: size for letter, size in zip("nctyx", self.shape, strict=True) if letter in self.axes}

    @property
    def array_shape(self) -> tuple[int, ...]:
        """Return the shape of one array, in the order of `axes`."""
        return tuple(self.sizes[letter] for letter in self.axes)

    @property
    def frames(self) -> int:
        """Return the number of frames of all movies."""
        return self.shape[0] * self.shape[2]

    @property
    def item(self) -> int:
        """Return the bytes of a pixel of one channel."""
        return np.dtype(self.dtype).itemsize

    @property
    def data_bytes(self) -> int:
        """Return the uncompressed size of all pixels, in bytes."""
        return self.item * math.prod(self.shape)

    @property
    def group_attrs(self) -> dict[str, dict[str, Any]]:
        """Return the attributes of all groups, with the history of this run before the history of the input."""
        out = {path: dict(attrs) for path, attrs in self.groups.items()}
        if self.history:
            old = out.setdefault("", {}).get("history")
            out[""]["history"] = f"{self.history}\n{old}" if isinstance(old, str) and old else self.history
        return out

    def attrs_of(self, index: int) -> dict[str, Any]:
        """Return the attributes of the array `names[index]`."""
        return dict(self.attrs[index]) if self.attrs else {}

    def dim_sizes(self) -> dict[str, int]:
        """Return the length of every dimension of the arrays and fields, by the dimension's name.

        Raises:
            ValueError: Two arrays disagree on the length of a dimension.
        """
        sizes: dict[str, int] = dict(zip(self.dims or (), self.array_shape, strict=bool(self.dims)))
        for entry in self.fields:
            for dim, size in zip(entry.dims, entry.values.shape, strict=True):
                if sizes.setdefault(dim, size) != size:
                    raise ValueError(f"{entry.name} has {size} values along {dim}, the movie {sizes[dim]}")
        return sizes

    def digest(self) -> str:
        """Return a checksum (16 hexadecimal digits) of everything except `history`, `left_out` and `notes`."""
        parts = [self.format, self.names, self.axes, self.shape, self.dtype, self.dims, self.attrs, self.groups, self.storage]
        parts.append(self.unlimited)
        text = hashlib.sha256(json.dumps(parts, default=str, sort_keys=True).encode())
        for entry in self.fields:
            text.update(json.dumps([entry.name, entry.dims, entry.attrs], default=str, sort_keys=True).encode())
            # The bytes of an array of texts are addresses in memory.
            values = str(entry.values.tolist()).encode() if entry.values.dtype.kind == "O" else entry.values.tobytes()
            text.update(str(entry.values.dtype).encode() + values)
        return text.hexdigest()[:16]

    def check(self) -> None:
        """Raise ValueError if names, axes, shape, dimensions, attributes and fields contradict each other."""
        extra = "c" if len(self.names) == 1 and self.shape[1] > 1 else ""
        needed = {*"yx", *("t" if self.shape[2] > 1 else ""), *extra, *("n" if self.shape[0] > 1 else "")}
        if len(set(self.axes)) != len(self.axes) or not needed <= set(self.axes) <= set("nctyx"):
            raise ValueError(f"axes {self.axes} do not describe {self.shape} in {len(self.names)} arrays")
        if len(self.names) > 1 and ("c" in self.axes or len(self.names) != self.shape[1]):
            raise ValueError(f"{len(self.names)} arrays for {self.shape[1]} channels, axes {self.axes}")
        if len(self.dims or self.axes) != len(self.axes) or len(self.attrs or self.names) != len(self.names):
            raise ValueError("dims go with axes and attrs with names, one by one")
        self.dim_sizes()
