"""Writer of uncompressed array files: everything else is written first, then pixels go straight to their place in the file.

No library has the file open while pixels are written, so a kill cannot make the file unreadable, and a run that was killed and
continued gives the same bytes as an uninterrupted run. The price is that the pixels are not compressed.
"""

from __future__ import annotations

import math
import os
import shutil
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from vsr.errors import UserError
from vsr.io.readers.printable import printable_bytes
from vsr.io.writers.base import ArrayWriter, OutputProgress, Sink, writing_errors
from vsr.io.writers.template import OutputTemplate
from vsr.system.files import sync_path

BAND = 2**24  # bytes that are rewritten together where the values of a frame are strewn over the file
RUN = 2**12  # bytes in one piece from which on it is written on its own
METADATA = 2**20  # bytes that a file may need besides pixels and fields, on the safe side
INDEX = 128  # bytes of the index of a chunk, on the safe side


class ContiguousWriter(ArrayWriter):
    """Writer of files that are made in two steps: `create` writes all but the pixels, `ContiguousSink` adds the pixels.

    Attributes:
        packs: True if `pack` makes the final file from the complete unpacked file, which needs twice the space.
    """

    packs: bool = False

    @abstractmethod
    def create(self, path: Path, template: OutputTemplate) -> list[int]:
        """Write the file without its pixels and return the byte offset of each array; [] if `frame_offsets` tells the offsets."""

    def frame_offsets(self, path: Path, template: OutputTemplate) -> list[int]:
        """Return the byte offset of each frame, array after array; for files of `growing` formats in which frames are chunks."""
        raise TypeError(f"{type(self).__name__} does not write chunks")

    def storage_order(self, template: OutputTemplate) -> str:
        """Return the letters of an array's axes in the order of storage; the last axis varies fastest."""
        return template.axes

    def pack(self, spool: Path, target: Path, template: OutputTemplate) -> None:
        """Make the final file `target` from the complete unpacked file `spool`; only formats with `packs` override this."""
        raise TypeError(f"{type(self).__name__} does not pack its files")

    def sink(self, journal: OutputProgress, template: OutputTemplate) -> Sink:
        return ContiguousSink(journal, template, self)


class ContiguousSink(Sink):
    """Sink that writes pixels into .npy, .npz, HDF5, NetCDF-4 and MATLAB 7.3 files.

    Where an axis can grow, each frame of an array is a chunk. Otherwise arrays are contiguous.
    If time comes before rows and columns in the order of storage, frames lie together in the file, and writing is as fast as
    the disk. If not (HDF5 and NetCDF with axes such as "yxt") each block of frames touches the whole file.
    """

    def __init__(self, journal: OutputProgress, template: OutputTemplate, writer: ContiguousWriter) -> None:
        """Continue the unfinished file of the journal, or create a file and reserve its full size on the disk.

        Args:
            journal: Record of the target's progress; belongs to the sink from now on.
            template: Description of the file without its pixels.
            writer: The writer of the format.

        Raises:
            UserError: The disk has no room for the file.
        """
        self._journal, self._template, self._writer = journal, template, writer
        self._order = writer.storage_order(template)
        self._handle: int | None = None
        try:
            if journal.resumed and not self._intact():
                journal.start_over()
            if not journal.resumed:
                self._create()
            self._offsets: list[int] = journal.state["offsets"]
            self._chunks = [] if self._offsets else writer.frame_offsets(journal.partial, template)
            with writing_errors(journal.target):
                self._handle = os.open(journal.partial, os.O_RDWR | os.O_CLOEXEC)
        except BaseException:
            if not journal.state:  # never complete: it would only take up the room that may be what is missing
                with suppress(UserError):
                    journal.start_over()
            self.close()
            raise
        self.done: int = journal.done

    def _intact(self) -> bool:
        partial, state = self._journal.partial, self._journal.state
        return partial.is_file() and partial.stat().st_size in (state.get("size"), state.get("packed"))

    def _create(self) -> None:
        partial, target = self._journal.partial, self._journal.target
        fields = sum(entry.values.nbytes for entry in self._template.fields)
        copies = 2 if self._writer.packs else 1
        metadata = METADATA
        reserved = 2 * fields + METADATA
        if self._template.unlimited:  # the library writes all chunks once
            metadata += INDEX * self._template.frames * len(self._template.names)
            reserved += self._template.data_bytes
        with writing_errors(target):
            _check_room(partial, copies * (self._template.data_bytes + 2 * fields) + metadata, reserved)
            offsets = [int(offset) for offset in self._writer.create(partial, self._template)]
            end = max(offsets) + self._template.data_bytes // len(offsets) if offsets else 0
            with partial.open("r+b") as file:
                size = max(end, partial.stat().st_size)
                _reserve(file.fileno(), size)
                os.fsync(file.fileno())
        self._journal.record(0, offsets=offsets, size=size)

    def write(self, start: int, frames: np.ndarray) -> None:
        self._template_fits(start, frames)
        length = self._template.shape[2]
        while len(frames):
            movie, first = divmod(start, length)
            part = frames[: length - first]
            with writing_errors(self._journal.target, self._journal.done):
                self._write_movie(movie, first, part)
            start, frames = start + len(part), frames[len(part) :]
        self.done = start

    def _template_fits(self, start: int, frames: np.ndarray) -> None:
        _, channels, _, height, width = self._template.shape
        if start != self.done or frames.ndim != 4 or frames.shape[1:] != (channels, height, width):
            raise ValueError(f"frames {frames.shape} at {start}, expected (t, {channels}, {height}, {width}) at {self.done}")
        if start + len(frames) > self._template.frames:
            raise ValueError(f"{start + len(frames)} frames for a file of {self._template.frames}")

    def _write_movie(self, movie: int, first: int, frames: np.ndarray) -> None:
        assert self._handle is not None
        sizes = self._template.sizes
        wanted = {"n": slice(movie, movie + 1), "t": slice(first, first + len(frames))}
        part = [wanted.get(letter, slice(0, sizes[letter])) for letter in self._order]
        arrays = len(self._template.names)
        for i, piece in enumerate([frames] if arrays == 1 else [frames[:, i : i + 1] for i in range(arrays)]):
            if self._offsets:
                values = to_contiguous_order(piece, self._order, self._template.dtype)
                _place(self._handle, self._offsets[i], [sizes[letter] for letter in self._order], part, values)
                continue
            at = i * self._template.frames + movie * self._template.shape[2] + first
            for k, offset in enumerate(self._chunks[at : at + len(piece)]):
                _write(self._handle, to_contiguous_order(piece[k : k + 1], self._order, self._template.dtype), offset)

    def flush(self) -> None:
        if self._handle is not None and self.done > self._journal.done:
            with writing_errors(self._journal.target, self._journal.done):
                os.fsync(self._handle)
            self._journal.record(self.done)

    def finish(self) -> None:
        if self.done != self._template.frames:
            raise ValueError(f"{self.done} of {self._template.frames} frames are written")
        self.flush()
        if not self._intact():
            raise UserError(
                f"{self._journal.partial}: is no longer {self._journal.state['size']} bytes long, another program changed it; "
                f"type the same command again to start over"
            )
        if self._writer.packs and self._journal.partial.stat().st_size != self._journal.state.get("packed"):
            self._pack()
        self._release()
        self._journal.finish()

    def _pack(self) -> None:
        partial, spare = self._journal.partial, self._journal.spare
        with writing_errors(self._journal.target, self.done):
            self._writer.pack(partial, spare, self._template)
            sync_path(spare)
            # Said before it is so: a kill right after the move must not make the result look like a damaged partial.
            self._journal.record(self.done, packed=spare.stat().st_size)
            os.replace(spare, partial)

    def close(self) -> None:
        self._release()
        self._journal.close()

    def discard(self) -> None:
        self.close()
        self._journal.start_over()

    def _release(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def to_contiguous_order(frames: np.ndarray, order: str, dtype: str) -> np.ndarray:
    """Return frames (t, C, H, W) in the type `dtype` with the axes `order`: n gets length 1, a missing c or t must have it."""
    letters = [letter for letter in order if letter != "n"]
    values = frames if "c" in letters else frames[:, 0]
    values = values if "t" in letters else values[0]
    have = [letter for letter in "tcyx" if letter in letters]
    values = values.transpose([have.index(letter) for letter in letters])
    if "n" in order:
        values = np.expand_dims(values, order.index("n"))
    return np.ascontiguousarray(values, dtype=dtype)


def _place(handle: int, offset: int, sizes: Sequence[int], part: Sequence[slice], values: np.ndarray) -> None:
    """Write values to a part of a contiguous array of their type in an open file.

    Adjacent values are written as one piece. A long piece is written directly. For short pieces, the surrounding region of the
    file is read, changed and written back at once; the region has at most BAND bytes, or one index of the first axis if that is
    larger. The file is not memory-mapped, so memory use stays small.

    Args:
        handle: Descriptor of the file, open for reading and writing.
        offset: Position of the array's first byte.
        sizes: Shape of the array.
        part: A slice for each axis.
        values: Values in the shape of the part.

    Raises:
        OSError: The file cannot be read or written.
    """
    stride = values.itemsize * math.prod(sizes[1:])
    first = offset + part[0].start * stride
    whole = [p == slice(0, n) for p, n in zip(part, sizes, strict=True)]
    if all(whole[1:]):
        _write(handle, values, first)
    elif stride > BAND or _run(whole, values) >= RUN:
        for i, inner in enumerate(values):
            _place(handle, first + i * stride, sizes[1:], part[1:], inner)
    else:
        step = BAND // stride
        for i in range(0, len(values), step):
            piece = values[i : i + step]
            stretch = np.zeros((len(piece), *sizes[1:]), values.dtype)
            _read(handle, stretch, first + i * stride)
            stretch[(slice(None), *part[1:])] = piece
            _write(handle, stretch, first + i * stride)


def _run(whole: Sequence[bool], values: np.ndarray) -> int:
    """Return the number of bytes of `values` that lie together in the file."""
    last = max(i for i, complete in enumerate(whole) if not complete)
    return values.itemsize * math.prod(values.shape[last:])


def _write(handle: int, values: np.ndarray, at: int) -> None:
    view = np.ascontiguousarray(values).reshape(-1).view(np.uint8).data
    while view:  # the operating system takes at most 2 GiB at once
        count = os.pwrite(handle, view, at)
        view, at = view[count:], at + count


def _read(handle: int, into: np.ndarray, at: int) -> None:
    view = into.reshape(-1).view(np.uint8).data
    while view and (count := os.preadv(handle, [view], at)):
        view, at = view[count:], at + count


def _check_room(path: Path, size: int, metadata: int) -> None:
    """Raise OSError or UserError if the file cannot get `size` bytes; a library that meets a full disk may crash instead."""
    free = shutil.disk_usage(path.parent).free
    if free < size:
        raise UserError(
            f"{path.parent}: {printable_bytes(free)} are free, {path.name.removeprefix('.').removesuffix('.part')} needs "
            f"{printable_bytes(size)}; free space, or type output=PATH on another disk"
        )
    with path.open("wb") as file:
        os.ftruncate(file.fileno(), size)
        _reserve(file.fileno(), metadata)


def _reserve(handle: int, size: int) -> None:
    """Set the size of a file, and reserve its room on the disk where the operating system can."""
    os.ftruncate(handle, size)
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(handle, 0, size)
