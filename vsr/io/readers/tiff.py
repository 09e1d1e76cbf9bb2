"""Reader of TIFF files whose pixels are values, or that hold several pages, through tifffile (extra `images`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vsr.io.readers import base
from vsr.io.readers.base import ArrayAttributes, ArrayReader, Metadata, Part, Variable
from vsr.io.readers.isolated.parent import run_isolated

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # classic TIFF and BigTIFF
SUFFIXES = (".tif", ".tiff")
# Names of the axes of tifffile: pages without a meaning (I, Q, R) are taken for frames; slices in depth (Z) are not.
DIMENSIONS = {"T": "time", "I": "time", "Q": "time", "R": "time", "Y": "y", "X": "x", "S": "channel", "C": "channel", "Z": "z"}


class TiffReader(ArrayReader):
    """Reader of the pages of a TIFF file as the frames of a movie, with their own values.

    A file with one page is a movie of one frame. Integers of any kind are values, not codes of colours.
    """

    name = "tiff"
    suffixes = SUFFIXES
    format = "TIFF"

    @classmethod
    def recognize(cls, path: Path, head: bytes) -> ArrayReader | None:
        return cls(path) if head.startswith(SIGNATURES) else None

    def _open(self) -> Any:
        return _library().TiffFile(str(self.path))

    def _entries(self) -> Iterator[tuple[str, Variable | str]]:
        for name, series in self._series():
            shape, dims = _frames_first(series)
            problem = base.reader_array_problem(series.dtype, shape)
            yield name, problem or Variable(name, shape, str(series.dtype), dims, None)

    def details(self, name: str) -> ArrayAttributes:
        with self._errors(name):
            page = dict(self._series())[name].pages[0]
            base.check_reader_chunk(f"{self.path}: {name}", page.shape, page.dtype.itemsize)
            return ArrayAttributes()

    def read(self, name: str, part: Part) -> np.ndarray:
        with self._errors(name):
            series = dict(self._series())[name]
            shape, _ = _frames_first(series)
            whole = part or tuple(slice(None) for _ in shape)
            per_page = series.pages[0].shape
            if len(series.pages) == shape[0] and tuple(per_page) == tuple(shape[1:]):  # one page per frame: read only these
                pages = range(*whole[0].indices(shape[0]))
                frames = np.stack([series.pages[number].asarray() for number in pages])
                return frames[(slice(None), *whole[1:])]
            return series.asarray().reshape(shape)[whole]

    def metadata(self, names: Sequence[str], axes: Sequence[str]) -> Metadata:
        with self._errors():
            sizes = self.handle.pages[0].tags.get("XResolution")
            described = bool(self.handle.imagej_metadata) or (sizes is not None and tuple(sizes.value) != (1, 1))
        return Metadata(notes=("pixel size, units and the description of the TIFF file are left out",) if described else ())

    def _series(self) -> Iterator[tuple[str, Any]]:
        with self._errors():
            found = self.handle.series
        for number, series in enumerate(found):
            yield (self.path.stem if len(found) == 1 else f"{self.path.stem}/{number}"), series


def tiff_holds_values(path: Path) -> bool:
    """Return True if a TIFF file has several pages, or pixels that are values and not codes of colours.

    Codes are bits and unsigned integers of 8 or 16 bits. Raises UserError if the file is damaged.
    """
    return run_isolated(path, _holds_values, path)


def _holds_values(path: Path) -> bool:
    with base.reader_errors(str(path), base.DAMAGED), _library().TiffFile(str(path)) as file:
        first = file.pages[0]
        return len(file.pages) > 1 or first.dtype is None or first.dtype.name not in ("bool", "uint8", "uint16")


def _library() -> Any:
    return base.import_reader_library("tifffile", "reading TIFF", "images")


def _frames_first(series: Any) -> tuple[tuple[int, ...], tuple[str, ...] | None]:
    """Return the shape of a series, with a frame axis even if the file has none, and the names of its dimensions."""
    shape, axes = tuple(map(int, series.shape)), str(series.axes)
    dims = tuple(DIMENSIONS.get(axis, axis.lower()) for axis in axes)
    if "time" not in dims:
        shape, dims = (1, *shape), ("time", *dims)
    return shape, dims if len(set(dims)) == len(dims) else None
