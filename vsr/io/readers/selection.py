"""Selection of single levels, members and the like from an array that has more dimensions than a movie."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from vsr.errors import UserError, error_suggestion
from vsr.io.readers.base import Variable
from vsr.io.readers.printable import printable_name, printable_shape

SHOWN = 8  # values of a coordinate in a message

# Positions along a dimension: one number for one position, a tuple for a movie each.
Positions = int | tuple[int, ...]


def selected_positions(
    select: Mapping[Any, Any], variable: Variable, coordinate: Callable[[int], np.ndarray | None], where: str
) -> dict[int, Positions]:
    """Find the positions that a selection, e.g. {"level": 500, "member": "all"}, means along the dimensions of an array.

    A value is looked up in the coordinate of its dimension. It is a position, from 0, if the dimension has no coordinate, or if
    it is written {"index": 2}. A list of values gives a movie for each value, and "all" a movie for each position.

    Args:
        select: Dimension -> value. A dimension without a name is called by its number, from 0.
        variable: The array.
        coordinate: Function that returns the values of the coordinate of a dimension, or None.
        where: Name of the file and the array; error messages begin with it.

    Returns:
        Number of a dimension -> its position, or a tuple of positions for a movie each.

    Raises:
        UserError: If the array has no such dimension, or the dimension no such value.
    """
    found: dict[int, Positions] = {}
    for key, value in select.items():
        at = _dimension(key, variable, where)
        if at in found:
            raise UserError(f"{where}: data.select names the dimension {printable_name(str(key))} twice; remove one")
        size = variable.shape[at]
        if isinstance(value, str) and value.lower() == "all":
            found[at] = tuple(range(size))
            continue
        by_index = isinstance(value, Mapping)
        if by_index and set(value) != {"index"}:
            raise UserError(f"{where}: data.select={{{key}: {value}}}: type {{{key}: VALUE}} or {{{key}: {{index: 0}}}}")
        wanted = value["index"] if by_index else value
        values = None if by_index else coordinate(at)
        each = [_position(item, values, size, f"{where}: data.select={{{key}: {item}}}", str(key)) for item in _listed(wanted)]
        if not each:
            raise UserError(f"{where}: data.select={{{key}: []}} names nothing; type a value")
        found[at] = tuple(each) if isinstance(wanted, (list, tuple)) else each[0]
    return found


def describe_coordinate(name: str, size: int, values: np.ndarray | None) -> str:
    """Describe a dimension by its name, length and first values: "level (3: 500, 700, 850)"."""
    if values is None:
        return f"{printable_name(name)} ({size})"
    return f"{printable_name(name)} ({size}: {_shown(values)})"


def example_value(values: np.ndarray | None) -> str:
    """Return a value of a coordinate as it is typed, or "0" for a dimension without a coordinate."""
    return "0" if values is None or not len(values) else _text(values[0])


def _dimension(key: Any, variable: Variable, where: str) -> int:
    dims = variable.dims
    if dims is not None and str(key) in dims:
        if dims.count(str(key)) > 1:
            raise UserError(f"{where}: two dimensions are called {printable_name(str(key))}; rename one in the file")
        return dims.index(str(key))
    if dims is None and str(key).isdigit() and int(str(key)) < len(variable.shape):
        return int(str(key))
    start = f"{where}: data.select={{{printable_name(str(key))}: ...}}: no such dimension"
    if dims is None:
        raise UserError(
            f"{start}; the dimensions of {printable_shape(variable.shape)} have no names; type their number, from 0 to "
            f"{len(variable.shape) - 1}"
        )
    raise UserError(start + error_suggestion(str(key), [printable_name(name) for name in dims]))


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else [value]


def _position(item: Any, values: np.ndarray | None, size: int, start: str, key: str) -> int:
    """Return the position of one value along a dimension of `size` positions."""
    if values is None:
        if isinstance(item, bool) or not isinstance(item, int) or not 0 <= item < size:
            raise UserError(f"{start}: must be a position from 0 to {size - 1}")
        return item
    if values.dtype.kind in "iuf":
        try:
            number = float(item)
        except (TypeError, ValueError):
            number = np.nan
        distance = np.abs(values.astype(np.float64) - number)
        matches = np.flatnonzero(distance <= 1e-6 * max(abs(number), 1e-30))
    else:
        matches = np.flatnonzero([_text(value) == str(item) for value in values])
    if len(matches) != 1:
        problem = "has no such value" if not len(matches) else "has this value more than once"
        index = f"{{{key}: {{index: 0}}}}"
        raise UserError(f"{start}: {printable_name(key)} {problem}; it has {_shown(values)}; type one of them, or e.g. {index}")
    return int(matches[0])


def _shown(values: np.ndarray) -> str:
    texts = [_text(value) for value in values[:SHOWN]]
    return ", ".join(texts) + (f", ... {_text(values[-1])}" if len(values) > SHOWN else "")


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return printable_name(value) if isinstance(value, str) else f"{float(value):.10g}"


def frame_span(frames: int | Sequence[int] | None, length: int, where: str) -> tuple[int, int]:
    """Return the first frame and the end (start, stop) of the frames to use.

    Args:
        frames: Number of frames from the first on, (start, stop), or None for all.
        length: Number of frames of the movie.
        where: Beginning of an error message.

    Raises:
        UserError: If the movie has not so many frames.
    """
    if frames is None:
        return 0, length
    start, stop = (0, frames) if isinstance(frames, int) else frames
    if stop > length:
        advice = f"type frames=[{min(start, length - 1)},{length}]"
        raise UserError(f"{where}: the frames {start} to {stop - 1} are asked for, it has {length}; {advice}")
    return start, stop
