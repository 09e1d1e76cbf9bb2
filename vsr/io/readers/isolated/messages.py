"""Answers of the child process as JSON and array bytes. Unlike a pickle, such an answer cannot run code in the receiver.

A malicious file may have taken over the child. Therefore class names must be in a closed list, and sizes are checked before
memory is allocated.
"""

from __future__ import annotations

import base64
import importlib
import json
import math
import socket
import struct
from dataclasses import MISSING, fields, is_dataclass
from fractions import Fraction
from typing import Any

import numpy as np

CLASSES = (
    "vsr.io.readers.pictures:PictureFacts",
    "vsr.io.readers.base:ArrayAttributes",
    "vsr.io.readers.base:Listing",
    "vsr.io.readers.base:Metadata",
    "vsr.io.readers.base:AuxiliaryArray",
    "vsr.io.readers.base:Variable",
    "vsr.io.readers.video_stream:VideoFacts",
    "vsr.io.readers.video_stream:VideoFrame",
)
KINDS = "biufcSUVMm"  # kinds of NumPy dtypes that are stored as plain bytes
MAX_TEXT = 2**28  # bytes of JSON in one answer
_LENGTH = struct.Struct("<Q")


class InvalidMessage(Exception):
    """Error for received bytes that are not an answer of `send_message`, or that declare too much data."""


def send_message(channel: socket.socket, kind: str, value: Any = None) -> None:
    """Send an answer (kind, e.g. "value", and value). Raise TypeError for an unknown type, OSError if the receiver is gone."""
    arrays: list[np.ndarray] = []
    tree = _to_json(value, arrays)
    # Arrays in column order (MATLAB) are sent in that order, without a copy.
    turned = [array.flags.f_contiguous and not array.flags.c_contiguous for array in arrays]
    heads = [[array.dtype.str, array.shape, turn] for array, turn in zip(arrays, turned, strict=True)]
    text = json.dumps([kind, tree, heads]).encode()
    channel.sendall(_LENGTH.pack(len(text)) + text)
    for array, turn in zip(arrays, turned, strict=True):
        values = np.ascontiguousarray(array.T if turn else array)
        if values.nbytes:
            channel.sendall(values.reshape(-1).view(np.uint8).data)


def receive_message(channel: socket.socket, limit: int) -> tuple[str, Any]:
    """Receive one answer and return its kind, e.g. "value", and its value.

    Args:
        channel: The socket to the child.
        limit: Largest total size of the arrays in bytes.

    Raises:
        EOFError: If the sender is gone.
        TimeoutError: If nothing comes within the timeout of the channel.
        InvalidMessage: If the bytes are not an answer of `send_message`, or the arrays are too large.
    """
    (length,) = _LENGTH.unpack(_receive_exactly(channel, bytearray(_LENGTH.size)))
    if length > MAX_TEXT:
        raise InvalidMessage(f"{length} bytes of text")
    text = _receive_exactly(channel, bytearray(length))
    try:
        kind, tree, heads = json.loads(bytes(text))
        shapes = [tuple(map(int, shape)) for _, shape, _ in heads]
        types = [np.dtype(str(name)) for name, _, _ in heads]
        sizes = [math.prod(shape) * dtype.itemsize for shape, dtype in zip(shapes, types, strict=True)]
        if any(dtype.kind not in KINDS for dtype in types) or any(n < 0 for s in shapes for n in s) or sum(sizes) > limit:
            raise InvalidMessage(f"arrays of {types}, {shapes}")
        arrays = []
        for (_, _, turn), shape, dtype in zip(heads, shapes, types, strict=True):
            array = np.empty(shape[::-1] if turn else shape, dtype)
            if array.nbytes:
                _receive_exactly(channel, array.reshape(-1).view(np.uint8).data)
            arrays.append(array.T if turn else array)
        return str(kind), _from_json(tree, arrays)
    except (OSError, EOFError, InvalidMessage):
        raise
    except Exception as error:
        raise InvalidMessage(str(error)) from error


def _receive_exactly(channel: socket.socket, buffer: bytearray | memoryview) -> bytearray | memoryview:
    rest = memoryview(buffer)
    while rest:
        count = channel.recv_into(rest)
        if not count:
            raise EOFError
        rest = rest[count:]
    return buffer


def _to_json(value: Any, arrays: list[np.ndarray]) -> Any:
    """Convert a value to JSON, with its arrays in `arrays`. Plain values stay; other values become lists [type letter, ...]."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, bytes):
        return ["b", base64.b64encode(value).decode()]
    if isinstance(value, Fraction):
        return ["f", value.numerator, value.denominator]
    if isinstance(value, np.ndarray) and value.dtype.kind == "O":
        return ["o", list(value.shape), *(_to_json(item, arrays) for item in value.flat)]
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in KINDS and not value.dtype.hasobject:
        arrays.append(np.asarray(value))
        return ["a" if isinstance(value, np.ndarray) else "g", len(arrays) - 1]
    if isinstance(value, list | tuple):
        return ["l" if isinstance(value, list) else "t", *(_to_json(item, arrays) for item in value)]
    if isinstance(value, dict):
        return ["d", *([_to_json(key, arrays), _to_json(item, arrays)] for key, item in value.items())]
    name = f"{type(value).__module__}:{type(value).__qualname__}"
    if is_dataclass(value) and name in CLASSES:
        known = {entry.name: getattr(value, entry.name) for entry in fields(value)}
        defaults = {entry.name: entry.default for entry in fields(value) if entry.default is not MISSING}
        # Fields with their default value are left out: a default may be a function.
        return ["c", name, _to_json({k: v for k, v in known.items() if not (k in defaults and v is defaults[k])}, arrays)]
    if isinstance(value, str | int | float):  # subclasses, such as enumerations and string types of libraries
        return _to_json(next(kind(value) for kind in (str, int, float) if isinstance(value, kind)), arrays)
    raise TypeError(f"{name} is not sent")


def _from_json(tree: Any, arrays: list[np.ndarray]) -> Any:
    if not isinstance(tree, list):
        return tree
    letter, *rest = tree
    if letter == "b":
        return base64.b64decode(rest[0])
    if letter == "f":
        return Fraction(*rest)
    if letter == "o":
        out = np.empty(tuple(rest[0]), object)
        for number, item in enumerate(rest[1:]):
            out.flat[number] = _from_json(item, arrays)
        return out
    if letter in ("a", "g"):
        return arrays[rest[0]] if letter == "a" else arrays[rest[0]][()]
    if letter in ("l", "t"):
        items = [_from_json(item, arrays) for item in rest]
        return items if letter == "l" else tuple(items)
    if letter == "d":
        return {_from_json(key, arrays): _from_json(item, arrays) for key, item in rest}
    if letter == "c" and rest[0] in CLASSES:
        module, _, name = rest[0].partition(":")
        return getattr(importlib.import_module(module), name)(**_from_json(rest[1], arrays))
    raise InvalidMessage(f"{letter!r}")
