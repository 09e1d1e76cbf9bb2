"""Selection of the attributes of arrays and files that can be kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

MAX_ATTRIBUTE = 60_000  # bytes; HDF5 keeps attributes in a header of 64 KiB


def plain_attributes(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes as Python numbers, texts and lists of at most 16 values; leave out all other attributes."""
    out: dict[str, Any] = {}
    for key, value in attrs.items():
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        elif isinstance(value, np.ndarray) and value.size <= 16 and value.dtype.kind in "biufU":
            value = value.tolist()
        elif isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, str | int | float) or (isinstance(value, list) and len(value) <= 16):
            out[str(key)] = value
    return out


def portable_attributes(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes that every format can hold: texts, lists of texts, numbers, one-dimensional arrays of numbers."""
    out: dict[str, Any] = {}
    for key, value in attrs.items():
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        if isinstance(value, str):
            out[key] = value
            continue
        try:
            array = np.asarray(value)
        except ValueError:  # nested lists
            continue
        if array.dtype.kind == "O" and array.size and all(isinstance(item, str) for item in array.flat):
            out[key] = [str(item) for item in array.flat]
        elif array.dtype.kind in "SU" and array.size:
            texts = np.char.decode(array, "utf-8", "replace") if array.dtype.kind == "S" else array
            out[key] = [str(item) for item in texts.flat]
        elif array.dtype.kind in "biuf" and 0 < array.nbytes < MAX_ATTRIBUTE:
            numbers = (array.astype(np.int8) if array.dtype.kind == "b" else array).ravel()
            out[key] = numbers if numbers.size > 1 else numbers[0]
    return out


def units_attribute(attrs: Mapping[str, Any]) -> str | None:
    """Return the text of the attribute `units`, or None if `units` is missing or not a text."""
    units = plain_attributes({"units": attrs["units"]}).get("units") if "units" in attrs else None
    return units if isinstance(units, str) else None
