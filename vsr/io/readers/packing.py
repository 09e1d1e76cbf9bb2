"""Decoding of stored values to physical values, as the attributes of an array declare it (CF conventions, HDF-EOS)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

MISSING_KEYS = ("_FillValue", "missing_value", "MissingValue", "CodeMissingValue")  # the last two are of HDF-EOS and GPM
PACKING_KEYS = (*MISSING_KEYS, "scale_factor", "add_offset", "ScaleFactor", "Offset", "_Unsigned")
RANGE_KEYS = ("valid_range", "valid_min", "valid_max")


@dataclass(frozen=True)
class Packing:
    """Rule that turns stored values into physical values: `stored * scale + offset`, and NaN where a value is missing.

    Attributes:
        scale: Factor of the stored values.
        offset: Number that is added after the multiplication.
        missing: Stored values that mean "missing".
        low: Smallest valid value; None without a limit.
        high: Largest valid value; None without a limit.
        unpacked_limits: True if `low` and `high` are physical values, False if they are stored values.
        unsigned: True to take signed integers for unsigned ones, False for the opposite, None to take them as they are.
    """

    scale: float = 1.0
    offset: float = 0.0
    missing: tuple[np.generic, ...] = ()
    low: np.generic | None = None
    high: np.generic | None = None
    unpacked_limits: bool = False
    unsigned: bool | None = None

    @classmethod
    def from_attributes(cls, attrs: Mapping[str, Any], dtype: np.dtype) -> Packing:
        """Read the rule from the attributes of an array.

        The names are those of CF (section 2.5.1 and 8.1 of the CF conventions 1.11) and of HDF-EOS (`MissingValue`,
        `ScaleFactor` and `Offset`). Numbers that are written as texts count as numbers.

        Args:
            attrs: Attributes of the array.
            dtype: Type of the stored values.
        """
        dtype, unsigned = np.dtype(dtype), None
        text = str(attrs.get("_Unsigned", "")).lower()
        if (text, dtype.kind) in (("true", "i"), ("false", "u")):
            unsigned = text == "true"
        missing = [number for key in MISSING_KEYS for number in _numbers(attrs.get(key))]
        eos = "ScaleFactor" in attrs and "scale_factor" not in attrs
        factors = _numbers(attrs.get("ScaleFactor" if eos else "scale_factor"))
        offsets = _numbers(attrs.get("Offset" if eos else "add_offset"))
        scale, offset = (factors[0] if factors else 1.0), (offsets[0] if offsets else 0.0)
        limits = _numbers(attrs.get("valid_range"))
        low = limits[0] if len(limits) == 2 else next(iter(_numbers(attrs.get("valid_min"))), None)
        high = limits[1] if len(limits) == 2 else next(iter(_numbers(attrs.get("valid_max"))), None)
        # Limits belong to the stored values, unless their type is that of the physical values (NetCDF User's Guide, appendix A).
        packed = bool(factors or offsets)
        wide = any(np.asarray(x).dtype.kind == "f" for x in (low, high) if x is not None) and dtype.kind in "iu"
        return cls(float(scale), float(offset), tuple(missing), low, high, packed and wide, unsigned)

    def __bool__(self) -> bool:
        return self != Packing()

    def decode(self, values: np.ndarray) -> np.ndarray:
        """Return the physical values of stored values.

        Args:
            values: Stored integers or floats, of any shape.

        Returns:
            Float64 for packed values, the given type for floats without packing. Integers that need no NaN stay integers.
        """
        values = np.asarray(values)
        if self.unsigned is not None:
            values = values.view(np.dtype(f"{values.dtype.byteorder}{'u' if self.unsigned else 'i'}{values.dtype.itemsize}"))
        gone = np.zeros(values.shape, bool)
        for number in self.missing:
            gone |= _equal(values, number)
        if not self.unpacked_limits:
            gone |= self._outside(values)
        if (self.scale, self.offset) != (1.0, 0.0):
            values = values.astype(np.float64) * self.scale + self.offset
        if self.unpacked_limits:
            gone |= self._outside(values)
        if gone.any():
            values = values.astype(values.dtype if values.dtype.kind == "f" else np.float64)  # a copy: the input may be a map
            values[gone] = np.nan
        return values

    def _outside(self, values: np.ndarray) -> np.ndarray:
        outside = np.zeros(values.shape, bool)
        with np.errstate(invalid="ignore"):
            if self.low is not None:
                outside |= values < _like(self.low, values.dtype)
            if self.high is not None:
                outside |= values > _like(self.high, values.dtype)
        return outside

    def describe(self, attrs: Mapping[str, Any]) -> str:
        """Return the attributes that the rule comes from as a text, such as "scale_factor 0.01, _FillValue -32768"."""
        keys = [key for key in (*PACKING_KEYS, *RANGE_KEYS) if key in attrs]
        if "ScaleFactor" not in attrs and "Offset" in keys:
            keys.remove("Offset")
        texts = []
        for key in keys:
            numbers = _numbers(attrs[key])
            shown = " to ".join(f"{x:.7g}" for x in numbers) if numbers else str(attrs[key])
            texts.append(f"{key} {shown}")
        return ", ".join(texts)


def coordinate_values(values: np.ndarray, attrs: Mapping[str, Any]) -> np.ndarray:
    """Return the physical values of a coordinate; values outside of the declared valid range stay, since many are wrong."""
    values = np.asarray(values)
    if values.dtype.kind not in "iuf":
        return values
    return Packing.from_attributes({key: x for key, x in attrs.items() if key not in RANGE_KEYS}, values.dtype).decode(values)


def missing_mask(values: np.ndarray, missing: Iterable[float]) -> np.ndarray:
    """Return a mask of the physical values that equal one of the numbers in `missing`, to a relative 1e-6."""
    mask = np.zeros(values.shape, bool)
    with np.errstate(invalid="ignore", over="ignore"):
        for number in missing:
            mask |= np.abs(values - np.float64(number)) <= 1e-6 * abs(number)
    return mask


class ExtremeValues:
    """The two smallest and the two largest distinct finite values of an array that is read in pieces, with their counts.

    They tell whether an extreme value is a constant for "missing" that no attribute declares, such as -9999 or 1e20.
    """

    def __init__(self) -> None:
        self.lowest: list[tuple[float, int]] = []  # at most two, the smallest first
        self.highest: list[tuple[float, int]] = []  # at most two, the largest first
        self.count = 0

    def add(self, values: np.ndarray) -> None:
        """Add a piece; NaN and infinite values are ignored."""
        finite = values[np.isfinite(values)]
        self.count += finite.size
        self.lowest = self._merge(self.lowest, _extremes(finite, 1))
        self.highest = self._merge(self.highest, _extremes(finite, -1), largest=True)

    @staticmethod
    def _merge(first: list[tuple[float, int]], second: list[tuple[float, int]], largest: bool = False) -> list[tuple[float, int]]:
        counts: dict[float, int] = {}
        for value, count in (*first, *second):
            counts[value] = counts.get(value, 0) + count
        return sorted(counts.items(), reverse=largest)[:2]

    def undeclared_missing(self) -> list[tuple[float, int]]:
        """Return the extreme values that look like a constant for "missing", each with its count.

        A value far outside of the rest is suspicious: at ten times the range of the rest if it occurs more than once, at the
        range of the rest if it is one of the constants in common use.
        """
        if len(self.lowest) < 2:
            return []
        (low, low_count), (next_low, _) = self.lowest
        (high, high_count), (next_high, _) = self.highest
        for bottom, top in ((True, True), (True, False), (False, True)):
            least, most = next_low if bottom else low, next_high if top else high
            if not most > least:
                continue
            found = [(low, low_count, least - low)] * bottom + [(high, high_count, high - most)] * top
            if all(_stands_apart(value, count, gap, most - least) for value, count, gap in found):
                return [(value, count) for value, count, _ in found]
        return []

    def describe(self, offset: float = 0.0) -> str | None:
        """Return a warning with the suspicious values plus `offset` and what to type, or None if there are none."""
        found = self.undeclared_missing()
        if not found:
            return None
        values = [f"{value + offset:.7g}" for value, _ in found]
        counts = " and ".join(
            f"{count} of {self.count} values are {value}" for value, (_, count) in zip(values, found, strict=True)
        )
        typed = values[0] if len(values) == 1 else f"[{','.join(values)}]"
        return f"{counts}, far outside of the rest; if that means missing, type data.missing={typed} data.mask=true"


# Constants for "missing" in common use: of NetCDF, CMIP, Ferret, GrADS, MODIS, and of people.
_CONSTANTS = [
    *(-99.0, -99.9, -999.0, -999.9, -9999.0, -9999.9, -99999.0, 9999.0, 99999.0),
    *(-32768.0, -32767.0, 32767.0, 65535.0, 1e10),
]
_LARGE_CONSTANT = 1e15


def _stands_apart(value: float, count: int, gap: float, rest: float) -> bool:
    known = abs(value) >= _LARGE_CONSTANT or any(abs(value - constant) <= 1e-6 * abs(constant) for constant in _CONSTANTS)
    return gap > rest if known else count > 1 and gap > 10 * rest


def _extremes(values: np.ndarray, sign: int) -> list[tuple[float, int]]:
    """Return the two smallest (sign 1) or largest (sign -1) distinct values with their counts."""
    found: list[tuple[float, int]] = []
    while values.size and len(found) < 2:
        extreme = values.min() if sign > 0 else values.max()
        found.append((float(extreme), int((values == extreme).sum())))
        values = values[values != extreme]
    return found


def _numbers(value: Any) -> list[Any]:
    """Return the numbers of an attribute: of a number, of an array, or of texts that hold numbers; [] if there are none."""
    if value is None or isinstance(value, bool):
        return []
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    array = np.asarray(value)
    if array.dtype.kind in "iuf":
        return [array.dtype.type(x) for x in array.ravel()]
    numbers = []
    for text in array.ravel().tolist() if array.dtype.kind in "SUO" else []:
        try:
            numbers.append(np.float64(text.decode() if isinstance(text, bytes) else text))
        except (TypeError, ValueError):
            return []
    return numbers


def _like(number: Any, dtype: np.dtype) -> Any:
    """Convert a number of an attribute to the type of the array, so that both are rounded alike.

    Integers of the other sign, as `_Unsigned` makes them, keep their bits. A number that the type cannot hold stays as it is.
    """
    number = np.asarray(number)[()]
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return dtype.type(number)
    if number.dtype.kind in "iu":
        bits, value = 8 * dtype.itemsize, int(number)
        if dtype.kind == "u" and -(2 ** (bits - 1)) <= value < 0:
            return value + 2**bits
        if dtype.kind == "i" and 2 ** (bits - 1) <= value < 2**bits:
            return value - 2**bits
    return number


def _equal(values: np.ndarray, number: Any) -> np.ndarray:
    """Return where values equal a number of an attribute, as far as float32 can tell: float32(1e20) is not float64(1e20)."""
    number = np.asarray(number)[()]
    if number != number:
        return np.zeros(values.shape, bool)
    if values.dtype.kind == "f" and values.dtype.itemsize > 4:
        with np.errstate(invalid="ignore", over="ignore"):
            return np.abs(values - np.float64(number)) <= 1e-7 * abs(np.float64(number))
    return values == _like(number, values.dtype)
