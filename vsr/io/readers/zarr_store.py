"""Reader of Zarr stores, versions 2 and 3, as a local folder, a .zip or an address (extra `zarr`).

This module reads and checks the metadata itself. Only a store that uses known compressions and lies wholly in its folder
reaches the Zarr library, whose codecs include one that unpickles. The library gets the checked metadata, not those that an
address may give the next time.
"""

from __future__ import annotations

import base64
import json
import os
import struct
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vsr.errors import UserError
from vsr.io.readers.attributes import plain_attributes, units_attribute
from vsr.io.readers.base import (
    MAX_CHUNK,
    ArrayAttributes,
    ArrayReader,
    AuxiliaryArray,
    Metadata,
    Part,
    Variable,
    check_reader_chunk,
    import_reader_library,
    reader_array_problem,
    reader_errors,
)
from vsr.io.readers.numpy_files import is_numpy_zip, numpy_member_problem
from vsr.io.readers.packing import MISSING_KEYS, Packing, coordinate_values
from vsr.io.readers.printable import printable_name
from vsr.system.address import UNREACHED, Address

DAMAGED = "the store is damaged; write or fetch it again"
FILES = (".zarray", ".zgroup", "zarr.json")
CODECS = (
    "bytes transpose endian gzip zlib bz2 lzma blosc zstd lz4 crc32 crc32c adler32 fletcher32 shuffle delta "
    "fixedscaleoffset quantize bitround sharding_indexed"
)
LEADING_OUT = ("kvstore", "url", "uri", "refs", "templates", "storage_transformers")
DIMENSIONS = "_ARRAY_DIMENSIONS"  # the attribute of Zarr 2 that names the dimensions
MAX_METADATA = 2**24  # bytes of one metadata file


class ZarrReader(ArrayReader):
    """Reader of a Zarr store. An array is named by its path in the store; a single array at the top has the store's own name.

    Packed values are unpacked, and missing values become NaN.
    """

    name = "zarr"
    suffixes = (".zarr", ".zip")
    format = "Zarr"
    advice = DAMAGED

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._fetched: dict[str, str] | None = None  # the metadata files of an address
        if isinstance(path, Address):
            self.advice = UNREACHED

    @classmethod
    def recognize(cls, path: Path, head: bytes) -> ArrayReader | None:
        return cls(path) if (is_numpy_zip(head) or path.is_dir()) and is_zarr_store(path) else None

    def _entries(self) -> Iterator[tuple[str, Variable | str]]:
        for name, meta in self._arrays():
            if (problem := _problem(meta)) is not None:
                yield name, problem
            else:
                shape, dtype = tuple(map(int, meta["shape"])), str(np.dtype(_dtype(meta)))
                yield name, Variable(name, shape, dtype, _dims(meta), units_attribute(meta["attributes"]))

    def details(self, name: str) -> ArrayAttributes:
        where = f"{self.path}: {printable_name(name)}"
        _library()
        arrays = dict(self._arrays())
        with self._errors(name):
            meta = arrays[name]
            check_reader_chunk(where, _chunks(meta), np.dtype(_dtype(meta)).itemsize)
            group = name.rpartition("/")[0]
            beside = [arrays.get(f"{group}/{d}".lstrip("/"), {"attributes": {}}) for d in _dims(meta) or ()]
            attrs = dict(meta["attributes"])
            if meta["zarr_format"] == 2 and _dims(meta) is not None and meta.get("fill_value") is not None:
                attrs.setdefault("_FillValue", _number(meta["fill_value"], np.dtype(_dtype(meta))))
            return ArrayAttributes(plain_attributes(attrs), tuple(plain_attributes(x["attributes"]) for x in beside) or None)

    def read(self, name: str, part: Part) -> np.ndarray:
        with self._errors(name):
            if name not in self.handle:  # (metadata, opened array) by name
                self.handle[name] = self._opened(name)
            meta, array = self.handle[name]
            values = np.asarray(array[part])
            return _packing(meta, values.dtype).decode(values)

    def metadata(self, names: Sequence[str], axes: Sequence[str]) -> Metadata:
        """Read attributes and other arrays of the movie's group and its parents, and Zarr version, chunks and compression."""
        with self._errors():
            listed = {variable.name: variable for variable in self.listing().variables}
            top = _library().open(self._store(), mode="r")
            parts = names[0].split("/")[:-1]
            above = ["/".join(parts[:depth]) for depth in range(len(parts) + 1)]
            groups = {group: _attributes(_member(top, group)) for group in above} if hasattr(top, "group_keys") else {}
            neighbours: list[AuxiliaryArray] = []
            for name, variable in listed.items():
                if name not in names and name.rpartition("/")[0] in above:
                    self.details(name)  # raises for chunks that must not be unpacked
                    array = _member(top, name)
                    attrs = _attributes(array)
                    # Zero is the default of Zarr, and a coordinate has no missing values.
                    if array.metadata.zarr_format == 2 and array.fill_value is not None and array.fill_value != 0:
                        attrs["_FillValue"] = array.fill_value
                    neighbours.append(AuxiliaryArray(name, variable.dims or ("",) * array.ndim, array.shape, attrs))
            movies = [_member(top, name) for name in names]
            storage = {
                "version": movies[0].metadata.zarr_format,
                "compressors": _compressors(movies[0]),
                "consolidated": getattr(getattr(top, "metadata", None), "consolidated_metadata", None) is not None,
                "frames": (movies[0].shards or movies[0].chunks)[axes.index("t")] if "t" in axes else 1,
            }
        dims = listed[names[0]].dims
        return Metadata(dims, tuple(map(_attributes, movies)), groups, neighbours, storage=storage)

    def coordinate(self, name: str, dimension: int) -> np.ndarray | None:
        arrays = dict(self._arrays())
        with self._errors(name):
            dims = _dims(arrays[name])
            beside = None if dims is None else f"{name.rpartition('/')[0]}/{dims[dimension]}".lstrip("/")
            if beside not in arrays or len(arrays[beside]["shape"]) != 1 or _problem(arrays[beside]) is not None:
                return None
            self.details(beside)
            return coordinate_values(self.read_stored(beside), arrays[beside]["attributes"])

    def read_stored(self, name: str) -> np.ndarray:
        with self._errors(name):
            return np.asarray(self._opened(name)[1][...])

    def _opened(self, name: str) -> tuple[dict[str, Any], Any]:
        # Checked again: the store may have changed since it was listed, or this is another process.
        meta = dict(self._arrays())[name]
        if (problem := _problem(meta)) is not None:
            raise UserError(f"{self.path}: {printable_name(name)} {problem}")
        if isinstance(self.path, Address):
            _library()
            from zarr.core.metadata import ArrayV2Metadata, ArrayV3Metadata

            kind = ArrayV2Metadata if meta["zarr_format"] == 2 else ArrayV3Metadata
            known = kind.from_dict({key: value for key, value in meta.items() if key != "folder"})
            return meta, opened_array(self._store(), meta["folder"], known)
        options = {"path": meta["folder"], "zarr_format": meta["zarr_format"]}
        return meta, _library().open_array(store=self._store(), mode="r", **options)

    def _store(self) -> Any:
        """Return the Zarr library's store object for the folder, zip file or address, after `_arrays` has checked the files."""
        storage = _library().storage
        if isinstance(self.path, Address):
            return storage.FsspecStore.from_url(str(self.path), read_only=True)
        return storage.LocalStore(self.path, read_only=True) if self.path.is_dir() else storage.ZipStore(self.path, mode="r")

    def _arrays(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield (name, metadata) of every array; raise UserError if metadata or a file of the store leads out of the store."""
        with self._errors():
            files = self._metadata_files()
            for path, text in sorted(files.items()):
                folder, _, kind = path.rpartition("/")
                meta = json.loads(text)
                self._check_inside(path, meta)
                if kind == ".zarray" or (kind == "zarr.json" and meta.get("node_type") == "array"):
                    attrs = json.loads(files.get(f"{folder}/.zattrs".lstrip("/"), "{}")) if kind == ".zarray" else None
                    attrs = meta.get("attributes", {}) if attrs is None else attrs
                    yield folder or self.path.name.split(".")[0], {**meta, "folder": folder, "attributes": attrs}

    def _metadata_files(self) -> dict[str, str]:
        """Return the text of each metadata file by the file's path in the store."""
        if isinstance(self.path, Address):
            self._fetched = _fetched_metadata(self.path) if self._fetched is None else self._fetched
            return self._fetched
        wanted = (*FILES, ".zattrs", ".zmetadata")
        files: dict[str, str] = {}
        if self.path.is_dir():
            root = os.path.realpath(self.path)
            for folder, folders, names in os.walk(self.path):
                for name in (*folders, *names):
                    full = os.path.join(folder, name)
                    if os.path.islink(full) and not os.path.realpath(full).startswith(root + os.sep):
                        raise UserError(f"{full}: a link out of the store, which is not followed; put the file itself there")
                for name in set(wanted) & set(names):
                    full = os.path.join(folder, name)
                    if os.path.getsize(full) <= MAX_METADATA:
                        files[os.path.relpath(full, self.path).replace(os.sep, "/")] = Path(full).read_text(encoding="utf-8")
        else:
            with zipfile.ZipFile(self.path) as archive:
                for info in archive.infolist():
                    problem = numpy_member_problem(info)
                    if problem is None and info.file_size > MAX_CHUNK:
                        problem = f"unpacks to more than {MAX_CHUNK} bytes"
                    if problem is not None:
                        raise UserError(f"{self.path}: {printable_name(info.filename)} {problem}")
                    if info.filename.rpartition("/")[2] in wanted and info.file_size <= MAX_METADATA:
                        files[info.filename] = archive.read(info).decode("utf-8")
        return files

    def _check_inside(self, path: str, meta: Any) -> None:
        if not isinstance(meta, dict):
            raise UserError(f"{self.path}: {printable_name(path)} is not Zarr metadata; {DAMAGED}")
        if path.endswith(".zattrs"):
            return
        for key in LEADING_OUT:
            if meta.get(key):
                raise UserError(f"{self.path}: {printable_name(path)} refers elsewhere ({key}); only whole local stores are read")
        consolidated = meta.get("metadata") or (meta.get("consolidated_metadata") or {}).get("metadata") or {}
        for name in consolidated:
            if name.startswith("/") or ".." in name.split("/"):
                raise UserError(
                    f"{self.path}: {printable_name(path)} refers to {printable_name(name)}, outside of the store; {DAMAGED}"
                )


def _library() -> Any:
    return import_reader_library("zarr", "reading Zarr", "zarr", "zarr")


def opened_array(store: Any, folder: str, metadata: Any) -> Any:
    """Return an array of the Zarr library for metadata that are at hand: they are not read from the store.

    Args:
        store: Store of the library.
        folder: Path of the array in the store.
        metadata: The library's metadata of an array.
    """
    zarr = _library()
    return zarr.Array(zarr.AsyncArray(metadata=metadata, store_path=zarr.storage.StorePath(store, folder)))


def _fetched_metadata(address: Address) -> dict[str, str]:
    """Return the text of each metadata file of a store at an address, by the file's path in the store.

    Raises:
        UserError: If the store cannot be reached, or its arrays can only be listed by a service that lists.
    """
    top = {name: content.decode("utf-8") for name, content in address.top_files().items()}
    with reader_errors(str(address), DAMAGED):
        whole = json.loads(top.get("zarr.json", "{}"))
        consolidated = (whole.get("consolidated_metadata") or {}).get("metadata")
        if consolidated is not None:
            return top | {f"{name}/zarr.json": json.dumps(meta) for name, meta in consolidated.items()}
        if ".zmetadata" in top:
            return top | {name: json.dumps(meta) for name, meta in json.loads(top[".zmetadata"])["metadata"].items()}
    if ".zarray" in top or whole.get("node_type") == "array":
        return top
    if address.scheme in ("http", "https"):
        raise UserError(
            f"{address}: has no consolidated metadata, without which its arrays cannot be listed; whoever keeps the store types "
            f"zarr.consolidate_metadata(STORE)"
        )
    return top | _listed_metadata(address, "")


def _listed_metadata(address: Address, group: str) -> dict[str, str]:
    """Return the text of each metadata file below a group, whose members the service lists."""
    system, root = address.located()
    try:
        members = [str(name).rstrip("/").rpartition("/")[2] for name in system.ls(f"{root}/{group}".rstrip("/"), detail=False)]
    except Exception as error:
        raise address.unreached(error) from error
    found: dict[str, str] = {}
    for name in sorted({name for name in members if name not in (*FILES, ".zattrs", ".zmetadata")}):
        folder = f"{group}/{name}".lstrip("/")
        for file in (*FILES, ".zattrs"):
            if (content := address.read_member(f"{folder}/{file}")) is not None:
                found[f"{folder}/{file}"] = content.decode("utf-8")
        is_group = f"{folder}/.zgroup" in found or json.loads(found.get(f"{folder}/zarr.json", "{}")).get("node_type") == "group"
        found |= _listed_metadata(address, folder) if is_group else {}
    return found


def is_zarr_store(path: Path) -> bool:
    """Return True if a folder, zip file or address has Zarr metadata at its top level."""
    if isinstance(path, Address):
        return not {*FILES, ".zmetadata"}.isdisjoint(path.top_files())
    if path.is_dir():
        return any((path / name).is_file() for name in FILES)
    with reader_errors(str(path), DAMAGED), zipfile.ZipFile(path) as archive:
        return not {*FILES}.isdisjoint(archive.namelist())


def _member(top: Any, name: str) -> Any:
    """Return the array or group `name` of the opened store `top`, or `top` itself if the store is a single array."""
    return top[name] if name and hasattr(top, "group_keys") else top


def _attributes(item: Any) -> dict[str, Any]:
    return {key: value for key, value in item.attrs.asdict().items() if key != DIMENSIONS}


def _compressors(array: Any) -> list[dict[str, Any]] | None:
    """Return an array's compressors as plain values, set for float32; leave out filters, which depend on the stored type."""
    out = [codec.to_dict() if hasattr(codec, "to_dict") else codec.get_config() for codec in array.compressors]
    for codec in out:
        if "typesize" in codec.get("configuration", {}):
            codec["configuration"]["typesize"] = 4
    return out or None


def _problem(meta: Mapping[str, Any]) -> str | None:
    """Return the reason why an array with the metadata `meta` cannot be used, or None for a good array."""
    try:
        dtype = np.dtype(_dtype(meta))
    except (TypeError, ValueError):
        return f"is of type {printable_name(str(_dtype(meta)))}, not real numbers"
    if (problem := reader_array_problem(dtype, meta["shape"])) is not None:
        return problem
    codecs = [*(meta.get("codecs") or ()), *(meta.get("filters") or ()), meta.get("compressor") or "bytes"]
    if unknown := sorted({name for name in _codec_names(codecs) if name.removeprefix("numcodecs.") not in CODECS.split()}):
        codec = printable_name(unknown[0])
        return f"is encoded by '{codec}', which is not among the known compressions; write it again with zstd or gzip"
    grid, key = meta.get("chunk_grid", {}), meta.get("chunk_key_encoding", {})
    separator = meta.get("dimension_separator") or (key.get("configuration") or {}).get("separator", ".")
    if grid.get("name", "regular") != "regular" or key.get("name", "v2") not in ("default", "v2") or separator not in ("/", "."):
        return "has an unknown arrangement of chunks; write it again with a regular grid"
    return None


def _codec_names(codecs: list[Any]) -> Iterator[str]:
    """Yield the names of codecs, including the codecs inside of shards."""
    for codec in codecs:
        name = codec if isinstance(codec, str) else str(codec.get("name", codec.get("id")))
        yield name
        inner = {} if isinstance(codec, str) else codec.get("configuration") or {}
        yield from _codec_names([*inner.get("codecs", ()), *inner.get("index_codecs", ())])


def _dtype(meta: Mapping[str, Any]) -> Any:
    dtype = meta.get("data_type", meta.get("dtype"))
    # A list is a struct, a mapping an extension: neither are numbers, and NumPy would read them its own way.
    return dtype if isinstance(dtype, str) else str(dtype)


def _chunks(meta: Mapping[str, Any]) -> tuple[int, ...]:
    return tuple(map(int, meta["chunks"] if "chunks" in meta else meta["chunk_grid"]["configuration"]["chunk_shape"]))


def _dims(meta: Mapping[str, Any]) -> tuple[str, ...] | None:
    names = meta.get("dimension_names") or meta["attributes"].get(DIMENSIONS)
    named = isinstance(names, list) and len(names) == len(meta["shape"]) and all(isinstance(x, str) and x for x in names)
    return tuple(names) if named and names else None


def _packing(meta: Mapping[str, Any], dtype: np.dtype) -> Packing:
    """Return the decoding rule of an array. As in xarray, the fill value of Zarr 2 means "missing" if dimensions have names."""
    attrs = dict(meta["attributes"])
    for key in MISSING_KEYS:
        if key in attrs:
            attrs[key] = _number(attrs[key], dtype)
    rule = Packing.from_attributes(attrs, dtype)
    if meta["zarr_format"] == 2 and _dims(meta) is not None:
        fill = _number(meta.get("fill_value"), dtype)
        rule = rule if fill is None else replace(rule, missing=(*rule.missing, np.asarray(fill)[()]))  # type: ignore[arg-type]
    return rule


def _number(value: Any, dtype: np.dtype) -> Any:
    """Parse a fill value: a number, a text with one, or (version 3) base64 of a double. Return None if no mask is needed."""
    if isinstance(value, str):
        if value in ("NaN", "Infinity", "-Infinity"):
            return None if value == "NaN" else float(value)
        if dtype.kind == "f" and len(value) == 12 and value.endswith("="):
            return _not_nan(struct.unpack("<d", base64.standard_b64decode(value))[0])
        with suppress(ValueError):
            return _not_nan(float(value))
        return None
    return value if isinstance(value, list) else _not_nan(value)


def _not_nan(value: Any) -> Any:
    return None if value is None or value != value else value
