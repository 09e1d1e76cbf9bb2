"""Content of an output file beside its pixels (`Template`), in any format."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

ITEM = 4  # bytes of a float32


@dataclass(frozen=True)
class Field:
    """A coordinate, its bounds, a grid mapping or a scalar, complete. `name` is its path in the file.

    `values` are as stored (packed ones stay packed, and then `attrs` says how).
    """

    name: str
    dims: tuple[str, ...]
    values: np.ndarray
    attrs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Template:
    """An SR file without its pixels: float32 little-endian arrays in physical units, NaN where values are missing.

    Attributes:
        format: a key of `vsr.io.formats.FORMATS`.
        names: one array, or several of the same shape that are the channels; paths within the file (.npy needs none).
        axes: the meaning of each index of an array, e.g. "tyx", "yxt", "nctyx"; in .mat files in MATLAB's order.
        shape: (movies, channels, T, H, W) of the output.
        dims: a name for each of the axes, or None.
        attrs: of each array: units, long_name ...
        fields: coordinates and whatever else is small and carried over.
        groups: attributes by path of the group, "" for the file.
        history: a line about this run, put before the history that the file has; not part of its identity.
        storage: options of the format (Zarr: version, compressors, consolidated).
        left_out: names of the arrays of the input that the output does not have.
        notes: what else differs from the input, in sentences for the user.
    """

    format: str
    names: tuple[str, ...]
    axes: str
    shape: tuple[int, int, int, int, int]
    dims: tuple[str, ...] | None = None
    attrs: tuple[Mapping[str, Any], ...] = ()
    fields: tuple[Field, ...] = ()
    groups: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    history: str = ""
    storage: Mapping[str, Any] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def sizes(self) -> dict[str, int]:
        """Length by letter of axis; without c where the channels are several arrays."""
        return {letter: size for letter, size in zip("nctyx", self.shape, strict=True) if letter in self.axes}

    @property
    def array_shape(self) -> tuple[int, ...]:
        """Shape of one array, in the order of `axes`."""
        return tuple(self.sizes[letter] for letter in self.axes)

    @property
    def frames(self) -> int:
        """Number of frames of all movies."""
        return self.shape[0] * self.shape[2]

    @property
    def data_bytes(self) -> int:
        """Size of all pixels, uncompressed."""
        return ITEM * math.prod(self.shape)

    @property
    def group_attrs(self) -> dict[str, dict[str, Any]]:
        """The attributes of all groups, with the history of this run before that of the input."""
        out = {path: dict(attrs) for path, attrs in self.groups.items()}
        if self.history:
            old = out.setdefault("", {}).get("history")
            out[""]["history"] = f"{self.history}\n{old}" if isinstance(old, str) and old else self.history
        return out

    def attrs_of(self, index: int) -> dict[str, Any]:
        """Attributes of one of `names`."""
        return dict(self.attrs[index]) if self.attrs else {}

    def dim_sizes(self) -> dict[str, int]:
        """Return the length of every dimension of the arrays and fields.

        Raises:
            ValueError: two arrays disagree on the length of a dimension.
        """
        sizes: dict[str, int] = dict(zip(self.dims or (), self.array_shape, strict=bool(self.dims)))
        for entry in self.fields:
            for dim, size in zip(entry.dims, entry.values.shape, strict=True):
                if sizes.setdefault(dim, size) != size:
                    raise ValueError(f"{entry.name} has {size} values along {dim}, the movie {sizes[dim]}")
        return sizes

    def digest(self) -> str:
        """Checksum of everything except history and notes."""
        parts = [self.format, self.names, self.axes, self.shape, self.dims, self.attrs, self.groups, self.storage]
        text = hashlib.sha256(json.dumps(parts, default=str, sort_keys=True).encode())
        for entry in self.fields:
            text.update(json.dumps([entry.name, entry.dims, entry.attrs], default=str, sort_keys=True).encode())
            # The bytes of an array of texts are addresses in memory.
            values = str(entry.values.tolist()).encode() if entry.values.dtype.kind == "O" else entry.values.tobytes()
            text.update(str(entry.values.dtype).encode() + values)
        return text.hexdigest()[:16]

    def check(self) -> None:
        """Raise ValueError for a template that describes no file."""
        extra = "c" if len(self.names) == 1 and self.shape[1] > 1 else ""
        needed = {*"tyx", *extra, *("n" if self.shape[0] > 1 else "")}
        if len(set(self.axes)) != len(self.axes) or not needed <= set(self.axes) <= set("nctyx"):
            raise ValueError(f"axes {self.axes} do not describe {self.shape} in {len(self.names)} arrays")
        if len(self.names) > 1 and ("c" in self.axes or len(self.names) != self.shape[1]):
            raise ValueError(f"{len(self.names)} arrays for {self.shape[1]} channels, axes {self.axes}")
        if len(self.dims or self.axes) != len(self.axes) or len(self.attrs or self.names) != len(self.names):
            raise ValueError("dims go with axes and attrs with names, one by one")
        self.dim_sizes()
