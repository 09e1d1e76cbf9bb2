"""Every format that is read: a small valid file of it, how it is damaged, and the job that reads it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
from hypothesis import strategies as st
from PIL import Image
from scipy.io import savemat

from tests.fakes import moving_pattern, write_video, write_y4m
from tests.io.readers.test_grib import message
from tests.io.readers.test_open import write_matlab73
from tests.robustness.fuzz.edits import Spans, around, edited, ends, mat5_packed, png_chunks, trees, zipped

Files = dict[str, bytes]  # by their paths below the folder of an example
FRAMES = moving_pattern(8, 16, 16).astype(np.float32)
FEW = ["model=fsrcnn_s", "recipe.steps=2", "recipe.patch=4", "strategy=cpu"]
FILM = moving_pattern(8, 16, 16)


@dataclass(frozen=True)
class Format:
    """valid: files as they should be. damaged: the same with edits. job, arguments: what is played with them."""

    valid: Files
    damaged: st.SearchStrategy[Files]
    job: str
    arguments: tuple[str, ...]


FORMATS: dict[str, Callable[[Path], Format]] = {}


def known(make: Callable[[Path], Format]) -> Callable[[Path], Format]:
    FORMATS[make.__name__] = make
    return make


def single(name: str, raw: bytes, damaged: st.SearchStrategy[bytes], job: str, *arguments: str) -> Format:
    return Format({name: raw}, damaged.map(lambda new: {name: new}), job, (name, *arguments))


def array_file(path: Path, *strategies: st.SearchStrategy[bytes], hot: Spans = (), axes: str = "tyx") -> Format:
    raw = path.read_bytes()
    return single(path.name, raw, st.one_of(edited(raw, hot or ends(raw)), *strategies), "arrays", axes)


def folder(
    files: Files, name: str, damaged: Callable[[str, bytes], st.SearchStrategy[bytes]], job: str, *arguments: str
) -> Format:
    """One file of a folder damaged or missing."""

    def one(path: str) -> st.SearchStrategy[Files]:
        rest = {key: raw for key, raw in files.items() if key != path}
        return st.one_of(*[damaged(path, files[path]).map(lambda new: {**rest, path: new})] * 15, st.just(rest))

    return Format(files, st.sampled_from(sorted(files)).flatmap(one), job, (name, *arguments))


def contents(path: Path) -> Files:
    return {str(file.relative_to(path.parent)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


def json_text(raw: bytes) -> st.SearchStrategy[bytes]:
    """A JSON file with its tree changed, or its bytes."""
    return trees(json.loads(raw)).map(lambda tree: json.dumps(tree).encode()) | edited(raw)


def inside_zip(name: str, raw: bytes) -> st.SearchStrategy[bytes]:
    """A member of a zip by what it is."""
    if name.endswith((".zarray", ".zattrs", ".zgroup", ".json")):
        return json_text(raw)
    return edited(raw, ends(raw, 128))


@known
def npy(path: Path) -> Format:
    np.save(path / "a.npy", FRAMES)
    return array_file(path / "a.npy", hot=((0, 128),))


@known
def npz(path: Path) -> Format:
    np.savez(path / "a.npz", h=FRAMES)
    return array_file(path / "a.npz", zipped((path / "a.npz").read_bytes(), inside_zip))


@known
def npz_compressed(path: Path) -> Format:
    np.savez_compressed(path / "a.npz", h=FRAMES)
    return array_file(path / "a.npz", zipped((path / "a.npz").read_bytes(), inside_zip))


@known
def mat4(path: Path) -> Format:
    """Version 4 has matrices only, which are no movies: all are refused, in one line."""
    savemat(path / "a.mat", {"H": FRAMES[0].astype(np.float64), "s": np.array([["a"]])}, format="4")
    return array_file(path / "a.mat", hot=((0, 24),))


@known
def mat5(path: Path) -> Format:
    savemat(path / "a.mat", {"H": FRAMES.transpose(1, 2, 0)})
    return array_file(path / "a.mat", hot=((116, 200),), axes="yxt")


@known
def mat5_compressed(path: Path) -> Format:
    savemat(path / "a.mat", {"H": FRAMES.transpose(1, 2, 0)}, do_compression=True)
    packed = mat5_packed((path / "a.mat").read_bytes())
    return array_file(path / "a.mat", packed, packed, hot=((116, 160),), axes="yxt")


@known
def mat5_struct(path: Path) -> Format:
    savemat(path / "a.mat", {"s": {"note": "a word", "flow": {"H": FRAMES.transpose(1, 2, 0)}}}, do_compression=True)
    packed = mat5_packed((path / "a.mat").read_bytes())
    return array_file(path / "a.mat", packed, packed, hot=((116, 160),), axes="yxt")


@known
def mat73(path: Path) -> Format:
    write_matlab73(path / "a.mat", "H", FRAMES.transpose(1, 2, 0))
    raw = (path / "a.mat").read_bytes()
    return array_file(path / "a.mat", hot=around(raw, FRAMES.transpose(0, 2, 1).tobytes()), axes="yxt")


@known
def h5_contiguous(path: Path) -> Format:
    with h5py.File(path / "a.h5", "w") as file:
        file["h"] = FRAMES
        file["h"].attrs["units"] = "m"
    return array_file(path / "a.h5", hot=around((path / "a.h5").read_bytes(), FRAMES.tobytes()))


@known
def h5_gzip(path: Path) -> Format:
    with h5py.File(path / "a.h5", "w") as file:
        file.create_dataset("g/h", data=FRAMES, chunks=(4, 16, 16), compression="gzip", shuffle=True)
        first = file["g/h"].id.get_chunk_info(0)
    raw = (path / "a.h5").read_bytes()
    return array_file(path / "a.h5", hot=around(raw, raw[first.byte_offset : first.byte_offset + first.size]))


@known
def h5_latest(path: Path) -> Format:
    """The newer layout, with checksums over what describes the arrays."""
    with h5py.File(path / "a.h5", "w", libver="latest") as file:
        file.create_dataset("h", data=FRAMES, chunks=(4, 16, 16), fletcher32=True)
    return array_file(path / "a.h5", hot=ends((path / "a.h5").read_bytes(), 1000))


def dataset() -> Any:
    import xarray

    return xarray.Dataset({"h": (("time", "lat", "lon"), FRAMES, {"units": "m"})}, {"lat": np.arange(16.0)})


@known
def netcdf3(path: Path) -> Format:
    dataset().to_netcdf(path / "a.nc", engine="scipy", format="NETCDF3_64BIT")
    return array_file(path / "a.nc", hot=((0, 400),), axes="")


@known
def netcdf4(path: Path) -> Format:
    dataset().to_netcdf(path / "a.nc", engine="h5netcdf")
    return array_file(path / "a.nc", hot=around((path / "a.nc").read_bytes(), FRAMES.tobytes()), axes="")


@known
def grib(path: Path) -> Format:
    pytest.importorskip("cfgrib")
    raw = b"".join(message("2t", None, day, 280 + values / 255) for day, values in enumerate(FRAMES))
    (path / "a.grib").write_bytes(raw)
    return array_file(path / "a.grib", hot=((0, 200), (len(raw) // 8, len(raw) // 8 + 200)), axes="")


def zarr_folder(path: Path, version: int) -> Format:
    dataset().to_zarr(path / "a.zarr", zarr_format=version, consolidated=False)
    return folder(contents(path / "a.zarr"), "a.zarr", inside_zip, "arrays", "")


@known
def zarr2(path: Path) -> Format:
    return zarr_folder(path, 2)


@known
def zarr3(path: Path) -> Format:
    return zarr_folder(path, 3)


@known
def zarr_zip(path: Path) -> Format:
    import zarr

    with zarr.storage.ZipStore(path / "a.zarr.zip", mode="w") as target:
        dataset().to_zarr(target, zarr_format=2, consolidated=False)
    raw = (path / "a.zarr.zip").read_bytes()
    parts = zipped(raw, inside_zip)
    return array_file(path / "a.zarr.zip", parts, parts, axes="")


@known
def h5_packed(path: Path) -> Format:
    """Integers with all attributes that decode them, close together in the file."""
    with h5py.File(path / "a.h5", "w", libver="latest") as file:
        file["h"] = FRAMES.astype(np.int16)
        missing = {"_FillValue": np.int16(-1), "missing_value": np.array([-2, -3], np.int16), "valid_range": [-100, 300]}
        file["h"].attrs.update({"scale_factor": 0.5, "add_offset": 10.0, "_Unsigned": "false", **missing})
    raw = (path / "a.h5").read_bytes()
    return array_file(path / "a.h5", hot=around(raw, FRAMES.astype(np.int16).tobytes()))


@known
def tiff_pages(path: Path) -> Format:
    tifffile.imwrite(path / "a.tif", FRAMES.astype(np.int16), photometric="minisblack")
    return array_file(path / "a.tif", hot=around((path / "a.tif").read_bytes(), FRAMES.astype(np.int16).tobytes()), axes="")


@known
def tiff_deflated(path: Path) -> Format:
    tifffile.imwrite(path / "a.tif", FRAMES, photometric="minisblack", compression="zlib")
    return array_file(path / "a.tif", hot=ends((path / "a.tif").read_bytes(), 1000), axes="")


def video_file(path: Path, hot: Spans) -> Format:
    raw = path.read_bytes()
    return single(path.name, raw, edited(raw, hot), "video")


@known
def y4m(path: Path) -> Format:
    return video_file(write_y4m(path / "a.y4m", FILM), ((0, 70),))


@known
def mp4(path: Path) -> Format:
    raw = write_video(path / "a.mp4", FILM, "libx264", "yuv420p").read_bytes()
    at = raw.find(b"moov")
    return video_file(path / "a.mp4", ((at - 4, len(raw)), (at - 4, len(raw)), (0, 48)))


@known
def mkv(path: Path) -> Format:
    return video_file(path / "a.mkv", ends(write_video(path / "a.mkv", FILM, "ffv1", "gray").read_bytes(), 700))


@known
def avi(path: Path) -> Format:
    return video_file(path / "a.avi", ends(write_video(path / "a.avi", FILM, "mjpeg", "yuvj420p").read_bytes(), 350))


def stills(
    path: Path, suffix: str, mode: str = "L", parts: Callable[[bytes], st.SearchStrategy[bytes]] | None = None, **options: Any
) -> Format:
    """A folder of six, of which the first is damaged."""
    (path / "a").mkdir()
    for number, values in enumerate(moving_pattern(6, 24, 24)):
        picture = Image.fromarray(values) if mode != "I;16" else Image.fromarray(values.astype(np.uint16) * 257)
        picture = picture if mode == "I;16" else picture.convert(mode)
        picture.save(path / "a" / f"{number}{suffix}", **options)
    files = contents(path / "a")
    first, raw = next(iter(files.items()))
    strategy = edited(raw, ends(raw, 200))
    if parts is not None:
        strategy = st.one_of(strategy, parts(raw), parts(raw))
    return Format(files, strategy.map(lambda new: {**files, first: new}), "pictures", ("a",))


@known
def png(path: Path) -> Format:
    return stills(path, ".png", "RGB", png_chunks)


@known
def png16(path: Path) -> Format:
    """16-bit colour takes another decoder."""
    import av

    (path / "a").mkdir()
    for number, values in enumerate(moving_pattern(6, 24, 24)):
        deep = np.repeat(values.astype(np.uint16)[..., None] * 257, 3, axis=2)
        codec = av.CodecContext.create("png", "w")
        codec.width, codec.height, codec.pix_fmt, codec.time_base = 24, 24, "rgb48be", 1  # type: ignore[attr-defined]
        (path / "a" / f"{number}.png").write_bytes(bytes(codec.encode(av.VideoFrame.from_ndarray(deep, format="rgb48be"))[0]))  # type: ignore[attr-defined]
    files = contents(path / "a")
    first, raw = next(iter(files.items()))
    strategy = st.one_of(edited(raw, ((0, 60),)), png_chunks(raw))
    return Format(files, strategy.map(lambda new: {**files, first: new}), "pictures", ("a",))


@known
def jpeg(path: Path) -> Format:
    return stills(path, ".jpg", "RGB")


@known
def tiff(path: Path) -> Format:
    return stills(path, ".tif", "RGB", compression="tiff_lzw")


@known
def tiff_float(path: Path) -> Format:
    return stills(path, ".tif", "F")
