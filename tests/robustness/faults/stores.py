"""Zarr stores, and sizes that are declared or unpacked: items 7 to 9."""

from __future__ import annotations

import json
import pickle
import shutil
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from PIL import Image

from tests.data.datamodules.test_climate_files import flow
from tests.robustness.faults.bench import Bench, fault, field, mat, train, upscale
from tests.training.resume.test_checkpoints import Mark


@fault("07-zarr-chunk-is-a-link-out", "a link out of the store, which is not followed")
def _(bench: Bench) -> list[str]:
    path = store(bench)
    chunk = next(p for p in path.rglob("*") if p.is_file() and "zarr" not in p.name)
    shutil.move(chunk, bench.path / "secret")
    chunk.symlink_to(bench.path / "secret")
    return field(path)


fault("07-zarr-refers-elsewhere", "refers elsewhere (kvstore)")(lambda bench: field(store(bench, kvstore="file:///etc/")))


@fault("07-zarr-codec-that-unpickles", "is encoded by 'numcodecs.pickle', which is not among the known compressions")
def _(bench: Bench) -> list[str]:
    path = store(bench, codecs=[{"name": "numcodecs.pickle"}])
    for chunk in path.rglob("c/*/*/*"):
        chunk.write_bytes(pickle.dumps(Mark(bench.mark)))
    return field(path)


@fault("07-zarr-zip-with-names-that-climb-is-read-in-place", "fsrcnn", status=0)
def _(bench: Bench) -> list[str]:
    inside = store(bench)
    with zipfile.ZipFile(bench.path / "a.zarr.zip", "w") as archive:
        for path in inside.rglob("*"):
            if path.is_file():
                archive.write(path, str(path.relative_to(inside)))
        archive.writestr("../mark", "here")
    return field(bench.path / "a.zarr.zip")


fault("07-address-instead-of-a-file", "data.path=https://example.org/h.nc: no such file")(
    lambda bench: train("data=climate", "data.path=https://example.org/h.nc", "data.axes=tyx")
)


def store(bench: Bench, **metadata: Any) -> Path:
    """A Zarr folder with one array at its top, whose zarr.json says what is given."""
    import zarr

    array = zarr.create_array(str(bench.path / "a.zarr"), shape=(12, 24, 32), chunks=(6, 24, 32), dtype="f4")
    array[:] = flow()
    path = bench.path / "a.zarr" / "zarr.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **metadata}))
    return bench.path / "a.zarr"


def unwritten(bench: Bench, shape: tuple[int, ...], chunks: tuple[int, ...]) -> Path:
    """An HDF5 file that declares values and holds none."""
    with h5py.File(bench.path / "a.h5", "w") as file:
        file.create_dataset("h", shape, "f4", chunks=chunks)
    return bench.path / "a.h5"


fault("08-hdf5-of-8-tebibytes", "declares 8 TiB as float32", "type data.max_bytes=8796093022208")(
    lambda bench: field(unwritten(bench, (2**21, 1024, 1024), (1, 64, 64)))
)
fault("08-hdf5-of-800-gibibytes-below-the-limit", "a.h5: h: declared but never written")(
    lambda bench: field(unwritten(bench, (2**18, 1024, 800), (1, 64, 64)))
)


@fault("08-npy-of-8-tebibytes", "a.npy: is cut short")
def _(bench: Bench) -> list[str]:
    with (bench.path / "a.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (2**21, 1024, 1024)})
        file.write(bytes(1000))
    return field(bench.path / "a.npy")


fault("08-zarr-of-8-tebibytes", "declares 8 TiB as float32")(lambda bench: field(store(bench, shape=[2**21, 1024, 1024])))


fault("08-sparse-hdf5-upscaled", "declares 8 TiB as float32", "type max_bytes=8796093022208")(
    lambda bench: upscale(bench, unwritten(bench, (2**21, 1024, 1024), (1, 64, 64)), "axes=tyx")
)


fault("09-chunk-bomb-hdf5", "h: its chunks of 4x16384x16384 unpack to 4 GiB each", "one frame per chunk")(
    lambda bench: field(unwritten(bench, (8, 16384, 16384), (4, 16384, 16384)))
)


@fault("09-zip-bomb-npz", "h declares 3.999 GiB", "more than zip can pack")
def _(bench: Bench) -> list[str]:
    np.savez_compressed(bench.path / "a.npz", h=np.zeros((12, 24, 32), np.float32))
    raw = bytearray((bench.path / "a.npz").read_bytes())
    entry = raw.rindex(b"PK\x01\x02")
    raw[entry + 24 : entry + 28] = struct.pack("<I", 0xFFF00000)
    (bench.path / "a.npz").write_bytes(raw)
    return field(bench.path / "a.npz")


@fault("09-bomb-in-a-compressed-mat", "a.mat", "fetch or write")
def _(bench: Bench) -> list[str]:
    """300 KB that declare 24x32x12 values and unpack to 300 MB."""
    path = mat(bench, H=flow().transpose(1, 2, 0))
    raw = path.read_bytes()
    packed = zlib.compress(raw[128:] + bytes(300 << 20))
    path.write_bytes(raw[:128] + struct.pack("<2I", 15, len(packed)) + packed)
    return field(path, axes="yxt")


@fault("09-picture-bomb", "a.png: declares more than 178956970 pixels; cut it into smaller pictures")
def _(bench: Bench) -> list[str]:
    (bench.path / "frames").mkdir()
    Image.new("1", (8, 8)).save(bench.path / "frames" / "a.png")
    path = bench.path / "frames" / "a.png"
    raw = bytearray(path.read_bytes())
    raw[16:24] = struct.pack(">2I", 60000, 60000)
    raw[29:33] = struct.pack(">I", zlib.crc32(raw[12:29]))
    path.write_bytes(raw)
    return train("data=movies", f"data.path={bench.path}/frames")
