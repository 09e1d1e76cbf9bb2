"""Writer of Zarr folders, version 2 or 3. Compressed chunks of whole frames are written once, under a temporary name first."""

from __future__ import annotations

import hashlib
import json
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from vsr.errors import UserError
from vsr.io.readers.zarr_store import DIMENSIONS, is_zarr_store, opened_array
from vsr.io.writers.base import ArrayWriter, OutputProgress, Sink, writing_errors
from vsr.io.writers.contiguous import to_contiguous_order
from vsr.io.writers.template import OutputTemplate
from vsr.system.address import ZARR_FILES, Address
from vsr.system.files import sync_path

CHUNK = 2**23  # bytes of frames that are compressed together
BEGUN = ".begun"  # ending of the object beside an output at an address that says who makes it
LARGE = 2**26  # bytes of a frame from which on it is cut into bands of rows


class ZarrWriter(ArrayWriter):
    """Writer of Zarr folders. If the input is Zarr too, the output has its version, compression and chunks."""

    name = "zarr"
    suffixes = (".zarr",)
    title = "Zarr"
    folder = True

    def sink(self, journal: OutputProgress, template: OutputTemplate) -> Sink:
        return ZarrSink(journal, template)

    def needs_dims(self, origin: str) -> bool:
        return origin != self.name

    def target_problem(self, path: Path) -> str | None:
        if path.is_dir() and not is_zarr_store(path):
            return "a folder that is no Zarr store is not replaced; type another output=NAME.zarr"
        return None


class ZarrSink(Sink):
    """Sink that writes a Zarr store. Frames wait until they fill a chunk along time; `flush` syncs complete chunks."""

    def __init__(self, journal: OutputProgress, template: OutputTemplate) -> None:
        """Continue the journal's unfinished store, or create a store without pixels. Raises UserError if neither succeeds."""
        self._journal, self._template = journal, template
        self._pending: list[np.ndarray] = []
        self._unsynced: list[tuple[int, int, int]] = []  # movie, first and last + 1 frame
        try:
            with writing_errors(journal.target):
                if journal.resumed and not journal.partial.is_dir():
                    journal.start_over()
                if not journal.resumed:
                    _create(journal.partial, template, zarr_chunk_sizes(template))
                    _sync_tree(journal.partial)
                for left in journal.partial.rglob("*.partial"):  # what the library was writing when it was killed
                    left.unlink()
                store = _library().open_group(str(journal.partial), mode="r+", zarr_format=_version(template))
                self._arrays: list[Any] = [store[name] for name in template.names]
                self._chunk = dict(zip(template.axes, self._arrays[0].chunks, strict=True))
            if not journal.resumed:
                journal.record(0)
        except BaseException:
            self.close()
            raise
        self._stored = journal.done
        self.done: int = journal.done

    def write(self, start: int, frames: np.ndarray) -> None:
        _, channels, length, height, width = self._template.shape
        if start != self.done or frames.ndim != 4 or frames.shape[1:] != (channels, height, width):
            raise ValueError(f"frames {frames.shape} at {start}, expected (t, {channels}, {height}, {width}) at {self.done}")
        if start + len(frames) > self._template.frames:
            raise ValueError(f"{start + len(frames)} frames for a file of {self._template.frames}")
        while len(frames):
            frame = self.done % length
            end = min(frame - frame % self._chunk.get("t", 1) + self._chunk.get("t", 1), length)
            part = frames[: end - frame]
            self._pending.append(np.array(part, self._template.dtype))  # the caller may use its memory again
            self.done += len(part)
            frames = frames[len(part) :]
            if frame + len(part) == end:
                self._store()

    def _store(self) -> None:
        """Write all pending frames, which fill a chunk along time, to the store."""
        movie, first = divmod(self._stored, self._template.shape[2])
        frames = np.concatenate(self._pending)
        with writing_errors(self._journal.target, self._journal.done):
            _write_frames(self._arrays, self._template, movie, first, frames)
        self._unsynced.append((movie, first, first + len(frames)))
        self._stored += len(frames)
        self._pending = []

    def flush(self) -> None:
        if self._stored == self._journal.done:
            return
        with writing_errors(self._journal.target, self._journal.done):
            _sync_frames(self._arrays, self._template, self._journal.partial, self._unsynced)
        self._journal.record(self._stored)
        self._unsynced = []

    def finish(self) -> None:
        if self.done != self._template.frames:
            raise ValueError(f"{self.done} of {self._template.frames} frames are written")
        self.flush()
        self._journal.finish()

    def close(self) -> None:
        self._journal.close()

    def discard(self) -> None:
        self.close()
        self._journal.start_over()


class ZarrParts:
    """Store that several processes write at the same time, each other frames.

    A part must begin and end where files of the store do: at multiples of `template.storage["unit"]` frames of a movie. Writing
    a part twice gives the same files.

    Args:
        path: Folder of the store, which `create` made. For a target at an address, pixels go there at once, and the rest of the
            store, without which nobody sees them, with `finish_at_address`.
        template: Description of the file.
        target: Path at which the store will be found.
    """

    def __init__(self, path: Path, template: OutputTemplate, target: Path) -> None:
        self._path, self._template, self._target = path, template, target
        group = _library().open_group(str(path), mode="r+", zarr_format=_version(template))
        self._arrays: list[Any] = [group[name] for name in template.names]
        if isinstance(target, Address):
            store = _library().storage.FsspecStore.from_url(str(target))
            known = zip(template.names, self._arrays, strict=True)
            self._arrays = [opened_array(store, name, array.metadata) for name, array in known]

    @staticmethod
    def create(path: Path, template: OutputTemplate) -> None:
        """Make a store without pixels."""
        _create(path, template, zarr_chunk_sizes(template))
        _sync_tree(path)

    def write(self, movie: int, first: int, frames: np.ndarray) -> None:
        """Write SR frames (t, C, H, W) of a movie from frame `first` on, and sync them to disk. Raises UserError."""
        with writing_errors(self._target):
            _write_frames(self._arrays, self._template, movie, first, frames)
            if not isinstance(self._target, Address):
                _sync_frames(self._arrays, self._template, self._path, [(movie, first, first + len(frames))])


def begin_at_address(target: Address, identity: Mapping[str, Any]) -> None:
    """Take an address for an output, so that no command that makes other values writes there, too.

    Raises:
        UserError: If a command with another identity has begun, or the address cannot be written.
    """
    system, root = target.located()
    wanted = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest().encode()
    try:
        system.pipe_file(f"{root}{BEGUN}", wanted, mode="create")  # of two commands, one makes it
    except Exception as error:  # each service has its own errors
        found = target.with_name(f"{target.name}{BEGUN}").read_member()
        if found is None:
            raise target.unreached(error) from error
        if found != wanted:
            raise UserError(
                f"{target}: another command, with other settings, writes it or was killed; wait for it, or remove "
                f"{target}{BEGUN} if nothing writes there, or type another output="
            ) from error
    else:
        if target.exists():  # completed meanwhile
            system.rm_file(f"{root}{BEGUN}")


def finish_at_address(store: Path, target: Address) -> None:
    """Copy the store without pixels to an address, what makes it visible last. Raises UserError if that fails."""
    system, root = target.located()
    files = sorted(file.relative_to(store).as_posix() for file in store.rglob("*") if file.is_file())
    try:
        for name in sorted(files, key=lambda name: (name in ZARR_FILES, name in ZARR_FILES and -ZARR_FILES.index(name))):
            system.pipe_file(f"{root}/{name}", (store / name).read_bytes())
        with suppress(FileNotFoundError):  # another process has done it
            system.rm_file(f"{root}{BEGUN}")
    except Exception as error:  # each service has its own errors
        raise target.unreached(error) from error


def _write_frames(arrays: Sequence[Any], template: OutputTemplate, movie: int, first: int, frames: np.ndarray) -> None:
    """Write SR frames (t, C, H, W) of a movie to the arrays of a store, from frame `first` on."""
    wanted = {"n": slice(movie, movie + 1), "t": slice(first, first + len(frames))}
    part = tuple(wanted.get(letter, slice(None)) for letter in template.axes)
    pieces = [frames] if len(arrays) == 1 else [frames[:, i : i + 1] for i in range(len(arrays))]
    for array, piece in zip(arrays, pieces, strict=True):
        array[part] = to_contiguous_order(piece, template.axes, template.dtype)


def _sync_frames(arrays: Sequence[Any], template: OutputTemplate, path: Path, parts: Sequence[tuple[int, int, int]]) -> None:
    """Sync the files of parts (movie, first and last + 1 frame) of a store to disk, and the folders around them."""
    folders: set[Path] = set()
    stored = dict(zip(template.axes, arrays[0].shards or arrays[0].chunks, strict=True))
    for movie, first, last in parts:
        places = {letter: range(math.ceil(size / stored[letter])) for letter, size in template.sizes.items()}
        places |= {"n": range(movie, movie + 1), "t": range(first // (every := stored.get("t", 1)), math.ceil(last / every))}
        for place in product(*(places[letter] for letter in template.axes)):
            for name, array in zip(template.names, arrays, strict=True):
                file = path / name / array.metadata.encode_chunk_key(place)
                if file.exists():  # a chunk of missing values alone is not stored
                    sync_path(file)
                    folders |= {folder for folder in file.parents if folder.is_relative_to(path)}
    for folder in folders:
        sync_path(folder)


def zarr_chunk_sizes(template: OutputTemplate) -> dict[str, int]:
    """Return the length of a chunk along each axis, by the axis letter.

    A chunk holds frames of one movie, at most CHUNK bytes. A larger frame has a chunk per channel. A channel above LARGE bytes
    is cut into bands of rows. Where `template.storage` has a "unit" of frames, chunks do not go beyond units.
    """
    sizes = template.sizes
    frame = template.item * math.prod(sizes.get(letter, 1) for letter in "cyx")
    single = template.item * sizes["y"] * sizes["x"]
    chunk = {"n": 1, "c": sizes.get("c", 1) if frame <= CHUNK else 1, "x": sizes["x"]}
    chunk["y"] = math.ceil(sizes["y"] / math.ceil(single / LARGE))
    chunk["t"] = min(template.shape[2], max(1, CHUNK // frame), template.storage.get("frames", template.shape[2]))
    if unit := template.storage.get("unit"):
        chunk["t"] = next(most for most in range(min(chunk["t"], unit), 0, -1) if unit % most == 0)
    return chunk


def _shard_sizes(template: OutputTemplate, chunk: Mapping[str, int]) -> dict[str, int]:
    """Return the length along each axis of a shard that holds the frames of a unit."""
    whole = {letter: chunk[letter] * math.ceil(size / chunk[letter]) for letter, size in template.sizes.items()}
    return whole | {"n": 1, "t": template.storage["unit"]}


def _create(path: Path, template: OutputTemplate, chunk: Mapping[str, int]) -> None:
    zarr, version = _library(), _version(template)
    store = zarr.storage.LocalStore(path)
    root = zarr.open_group(store, mode="w", zarr_format=version)
    for group, attrs in template.group_attrs.items():
        (root.require_group(group) if group else root).attrs.update(_json(attrs))
    for entry in template.fields:
        attrs = dict(entry.attrs)
        # In version 2 the fill value of an array is CF's _FillValue; a default one would declare real zeros missing.
        fill = attrs.pop("_FillValue", None) if version == 2 else None
        values = entry.values
        options: dict[str, Any] = {"fill_value": fill, "chunks": tuple(max(1, n) for n in values.shape)}
        _array(root, version, entry.name, values.shape, values.dtype, entry.dims, attrs, **options)[...] = values
    for i, name in enumerate(template.names):
        options = {"fill_value": np.nan, "chunks": tuple(chunk[letter] for letter in template.axes)}
        if "unit" in template.storage and version == 3:
            shard = _shard_sizes(template, chunk)
            options["shards"] = tuple(shard[letter] for letter in template.axes)
        if "compressors" in template.storage:
            options["compressors"] = template.storage["compressors"]
        _array(root, version, name, template.array_shape, template.dtype, template.dims, template.attrs_of(i), **options)
    if version == 2 or template.storage.get("consolidated", True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # in version 3 only libraries other than this one and xarray do not know it
            zarr.consolidate_metadata(store, zarr_format=version)


def _array(
    root: Any, version: int, name: str, shape: tuple[int, ...], dtype: Any, dims: Any, attrs: dict[str, Any], **options: Any
) -> Any:
    names: dict[str, Any] = {}
    if dims is not None and version == 2:
        attrs = {**attrs, DIMENSIONS: list(dims)}
    elif dims is not None:
        names["dimension_names"] = tuple(dims)
    return root.create_array(name, shape=shape, dtype=dtype, attributes=_json(attrs), **names, **options)


def _json(attrs: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value.tolist() if isinstance(value, np.ndarray | np.generic) else value for key, value in attrs.items()}


def _sync_tree(path: Path) -> None:
    for folder, _, names in os.walk(path):
        for name in names:
            sync_path(Path(folder) / name)
        sync_path(Path(folder))


def _version(template: OutputTemplate) -> int:
    return int(template.storage.get("version", 3))


def _library() -> Any:
    try:
        import zarr
    except ImportError as error:
        raise UserError("writing Zarr needs zarr; type: pip install 'vsr-movies[zarr]'") from error
    return zarr
