"""Static fields (orography, land-sea mask, depth of the sea) on the grid of HR frames: read, cut by coordinates, compared."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vsr.errors import UserError, error_suggestion
from vsr.io.readers.axes import axis_meanings, coordinates_by_name, is_geographic
from vsr.io.readers.base import ArrayReader, Listing, Variable
from vsr.io.readers.open import EDGES
from vsr.io.readers.packing import coordinate_values
from vsr.io.readers.pixel_grid import Coordinate
from vsr.io.readers.printable import printable_bytes, printable_name, printable_shape, printable_value
from vsr.io.readers.recognize import open_reader
from vsr.io.writers.coordinates import coordinate_period

TOLERANCE = 0.05  # HR pixels that a field may be off the grid of the movie, as coordinates of single precision are
KEPT_BYTES = 4 << 20  # of float32: larger fields are not kept in checkpoints
MOST_BYTES = 1 << 32  # of float32 that a field may declare
Ticks = tuple[np.ndarray | None, np.ndarray | None]  # coordinates of rows and of columns; None where nothing says them


@dataclass(frozen=True, eq=False)
class StaticField:
    """A field that does not change in time.

    Attributes:
        name: Name of the array in its file.
        where: File and array, for messages.
        size: Number of rows and columns.
        values: (H, W) float32; None for a field of which a checkpoint keeps the hash alone.
        ticks: Coordinates of rows and columns.
        period: Period of the coordinate of columns: 360 for longitudes in degrees; None for no period.
        sha256: SHA-256 of `values`, in hexadecimal.
    """

    name: str
    where: str
    size: tuple[int, int]
    values: np.ndarray | None
    ticks: Ticks
    period: float | None
    sha256: str

    @classmethod
    def of(cls, name: str, where: str, values: np.ndarray, ticks: Ticks, period: float | None) -> StaticField:
        """Return the field of the values (H, W)."""
        held = np.ascontiguousarray(values, np.float32)
        size = (held.shape[0], held.shape[1])
        return cls(name, where, size, held, ticks, period, hashlib.sha256(repr(size).encode() + held.tobytes()).hexdigest())

    def cut(self, size: tuple[int, int], ticks: Ticks, whose: str) -> StaticField:
        """Return the part of the field that lies on a grid, in the direction of that grid.

        Args:
            size: Number of rows and columns of the grid.
            ticks: Coordinates of the grid. Where the grid or the field has none, the sizes must be equal.
            whose: What has the grid, for messages.

        Raises:
            UserError: If the field does not cover the grid, lies between its pixels, or has a value there that is not finite.
        """
        assert self.values is not None
        picked = []
        for axis, (word, letter) in enumerate((("rows", "y"), ("columns", "x"))):
            own, wanted = _usable(self.ticks[axis]), _usable(ticks[axis])
            if own is not None and wanted is not None:
                picked.append(self._positions(own, wanted, letter, self.period if axis else None, whose))
            elif self.size[axis] != size[axis]:
                lacking = self.where if own is None else whose
                raise UserError(
                    f"{self.where}: has {self.size[axis]} {word}, {whose} has {size[axis]}, and {lacking} has no coordinate of "
                    f"{letter} that says which of them; give a field of {printable_shape(size)}"
                )
            else:
                picked.append(np.arange(size[axis]))
        values = self.values[np.ix_(*picked)]
        if not np.isfinite(values).all():
            row, column = np.argwhere(~np.isfinite(values))[0].tolist()
            raise UserError(
                f"{self.where}: holds NaN or infinite values on the grid of {whose}, first at row {row}, column {column}; fill "
                f"them, as with 0 over the sea"
            )
        return StaticField.of(self.name, self.where, values, ticks, self.period)

    def _positions(self, own: np.ndarray, wanted: np.ndarray, letter: str, period: float | None, whose: str) -> np.ndarray:
        """Return the index of each wanted coordinate among the field's own. Raises UserError as `cut` does."""
        pixel = float(np.abs(np.diff(wanted)).min())
        tolerance, index = TOLERANCE * pixel, np.arange(len(own))
        if period is not None:  # 0..360 beside -180..180
            wanted, own = wanted % period, np.concatenate([own % period + turn * period for turn in (-1, 0, 1)])
            index = np.tile(index, 3)
        order = np.argsort(own, kind="stable")
        found = np.searchsorted(own[order], wanted).clip(1, len(own) - 1)
        before, after = order[found - 1], order[found]
        nearest = np.where(np.abs(own[before] - wanted) <= np.abs(own[after] - wanted), before, after)
        off = np.abs(own[nearest] - wanted)
        if (off > tolerance).any():
            at = float(wanted[int(np.argmax(off))])
            beyond = at < own.min() - tolerance or at > own.max() + tolerance or (period is not None and off.max() > pixel)
            shown = [printable_value(float(each), pixel) for each in (at, own.min(), own.max())]
            why = f"does not reach {letter} = {shown[0]}" if beyond else f"has no pixel at {letter} = {shown[0]}"
            raise UserError(
                f"{self.where}: {why}, where {whose} has one; give a field that covers this grid and has its pixels where the HR "
                f"frames have theirs"
            )
        steps = np.diff(index[nearest]) % len(self.ticks[letter == "x"])  # type: ignore[arg-type]
        if len(set(steps.tolist())) > 1 or steps[0] not in (1, len(self.ticks[letter == "x"]) - 1):  # type: ignore[arg-type]
            raise UserError(f"{self.where}: is finer along {letter} than {whose}; give the field on the grid of the HR frames")
        return index[nearest]

    def on_grid_of(self, other: StaticField) -> bool:
        """Return True if two fields lie on one grid, as far as sizes and coordinates tell."""
        if self.size != other.size:
            return False
        for ours, theirs in zip(self.ticks, other.ticks, strict=True):
            one, two = _usable(ours), _usable(theirs)
            if one is not None and two is not None and np.abs(one - two).max() > TOLERANCE * np.abs(np.diff(two)).min():
                return False
        return True

    def to_plain(self) -> dict[str, Any]:
        """Return the field for a checkpoint, its values as an array; a field of more than KEPT_BYTES goes without them."""
        kept = self.values is not None and self.values.nbytes <= KEPT_BYTES
        return {
            "name": self.name,
            "size": list(self.size),
            "values": self.values if kept else None,
            "ticks": [None if each is None else np.asarray(each, np.float64).tolist() for each in self.ticks],
            "period": self.period,
            "sha256": self.sha256,
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any], where: str) -> StaticField:
        """Return the field that `to_plain` wrote. Raises ValueError, KeyError or TypeError for any other mapping."""
        height, width = (int(n) for n in plain["size"])
        values = None if plain["values"] is None else np.asarray(plain["values"], np.float32).reshape(height, width)
        y, x = (None if each is None else np.array(each, np.float64) for each in plain["ticks"])
        if any(each is not None and each.shape != (n,) for each, n in ((y, height), (x, width))):
            raise ValueError(f"ticks of {plain['name']}")
        period = None if plain["period"] is None else float(plain["period"])
        found = cls(str(plain["name"]), where, (height, width), values, (y, x), period, str(plain["sha256"]))
        if values is not None and cls.of(found.name, where, values, (y, x), period).sha256 != found.sha256:
            raise ValueError(f"sha256 of {found.name}")
        return found


def ticks_of(y: Coordinate, x: Coordinate) -> Ticks:
    """Return the coordinates of rows and columns that tell where a grid lies."""
    return _usable(y.values), _usable(x.values)


def _usable(values: np.ndarray | None) -> np.ndarray | None:
    """Return a coordinate as float64, or None if its values do not tell where pixels lie."""
    if values is None or values.ndim != 1 or len(values) < 2 or values.dtype.kind not in "iuf":
        return None
    values = values.astype(np.float64)
    return values if np.isfinite(values).all() and (np.diff(values) != 0).all() else None


def open_static_fields(given: str | Sequence[str], key: str = "data.static") -> list[StaticField]:
    """Read static fields from array files.

    Args:
        given: FILE:VARIABLE, or FILE for a file with one field; or a list of them.
        key: The key that names them, for messages.

    Raises:
        UserError: If there is no such file or array, if an array is no field of rows and columns, or if two have one name.
    """
    found = [_open(str(each), key) for each in ([given] if isinstance(given, str) else given)]
    names = [field.name for field in found]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f"{key}: names {printable_name(twice)} twice; give fields with different names")
    return found


def open_fields_of_network(given: str | Sequence[str], names: Sequence[str], path: Path) -> tuple[StaticField, ...]:
    """Read static fields for a trained network, in the order of the network.

    Args:
        given: As in `open_static_fields`; a single field for a network with one has any name.
        names: Names of the fields of training.
        path: The checkpoint, for messages.

    Raises:
        UserError: If the network sees no static fields, or fields of other names.
    """
    if not names:
        typed = given if isinstance(given, str) else f"[{','.join(map(str, given))}]"
        raise UserError(f"static={typed}: {path} was trained without static fields; leave it out")
    found = open_static_fields(given, "static")
    if len(found) == len(names) == 1:
        return (replace(found[0], name=names[0]),)
    by_name = {field.name: field for field in found}
    if set(by_name) != set(names):
        raise UserError(
            f"static=[{','.join(map(printable_name, by_name))}]: {path} was trained with "
            f"{', '.join(map(printable_name, names))}; give fields of these names"
        )
    return tuple(by_name[name] for name in names)


def _open(given: str, key: str) -> StaticField:
    path, name = Path(given).expanduser(), ""
    if not path.exists() and ":" in given:
        file, _, name = given.rpartition(":")
        path = Path(file).expanduser()
    if not path.exists():
        raise UserError(f"{key}={given}: {path}: no such file; type {key}=[FILE:VARIABLE]")
    reader = open_reader(path)
    listing = reader.listing()
    variable = _variable(reader, listing, name, key)
    where = f"{path}:{printable_name(variable.name)}"
    long = [i for i, n in enumerate(variable.shape) if n > 1]
    if len(long) != 2:
        raise UserError(
            f"{key}={given}: {printable_name(variable.name)} is {printable_shape(variable.shape)}; a static field has rows and "
            f"columns, and further dimensions of length 1"
        )
    if (size := 4 * variable.shape[long[0]] * variable.shape[long[1]]) > MOST_BYTES:
        raise UserError(f"{where}: declares {printable_bytes(size)} as float32; cut it to the region of the movie")
    attached = reader.details(variable.name).coordinates
    attrs = [dict(attached[i]) if attached and i < len(attached) else {} for i in long]
    names = [str(variable.dims[i]) if variable.dims else "" for i in long]
    letters = [axis_meanings(one, about) for one, about in zip(names, attrs, strict=True)]
    turned = letters == [{"x"}, {"y"}]
    every = [""] * len(variable.shape)
    for i, letter in zip(long, "xy" if turned else "yx", strict=True):
        every[i] = letter
    by_name = coordinates_by_name((v for v in listing.variables if v.name != variable.name), variable, every)
    axes = []
    for i, one, about in zip(long, names, attrs, strict=True):
        values = reader.coordinate(variable.name, i)
        beside = [other for other, letter in by_name.items() if letter == every[i]]
        if values is None and len(beside) == 1:
            about = dict(reader.details(beside[0]).attrs)
            one, values = beside[0].rpartition("/")[2], coordinate_values(reader.read_stored(beside[0]).ravel(), about)
        axes.append(Coordinate(one, values, about))
    values = np.asarray(reader.read(variable.name, ()), np.float64).squeeze()
    reader.close()
    y, x = axes[::-1] if turned else axes
    return StaticField.of(
        variable.name.rpartition("/")[2],
        where,
        values.T if turned else values,
        ticks_of(y, x),
        coordinate_period(x.attrs, x.name),
    )


def _variable(reader: ArrayReader, listing: Listing, name: str, key: str) -> Variable:
    """Return the array of a name, or the only field of a file. Raises UserError if there is no such array, or several."""
    if name:
        for found in listing.variables:
            if found.name.strip("/") == name.strip("/"):
                return found
        known = [printable_name(found.name) for found in listing.variables]
        hint = error_suggestion(printable_name(name), known) if known else "; it holds no numeric array"
        raise UserError(f"{key}={reader.path}:{printable_name(name)}: there is no such array{hint}")
    fields = [
        found
        for found in listing.variables
        if sum(n > 1 for n in found.shape) >= 2
        and not EDGES.search(found.name)
        and not is_geographic(found.name.rpartition("/")[2], reader.details(found.name).attrs)
    ]
    if len(fields) == 1:
        return fields[0]
    shown = ", ".join(printable_name(found.name) for found in fields[:8]) or "none"
    example = printable_name(fields[0].name) if fields else "VARIABLE"
    raise UserError(f"{key}={reader.path}: it has several fields or none ({shown}); type {key}=[{reader.path}:{example}]")
