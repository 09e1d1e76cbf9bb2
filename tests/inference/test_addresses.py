"""Upscaling and inspection of stores and files at an address: in memory, and behind a local HTTP server."""

from __future__ import annotations

import functools
import json
import logging
import re
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.commands.test_app import Script, refused
from tests.fakes import upscale_here
from vsr.commands.inspect import inspect_command
from vsr.commands.status import status_command
from vsr.errors import UserError
from vsr.inference.engine import Engine
from vsr.io.readers.open import open_movie
from vsr.io.writers import zarr_store
from vsr.system.address import path_or_address
from vsr.system.work_units import units_folder

fsspec = pytest.importorskip("fsspec")
xarray = pytest.importorskip("xarray")
zarr = pytest.importorskip("zarr")
pytest.importorskip("aiohttp")


def dataset() -> Any:
    values = np.random.default_rng(0).standard_normal((12, 10, 12)).astype("<f4").cumsum(1)
    values[3, :4] = np.nan
    coords = {"time": np.arange(12) * 0.5, "lat": np.linspace(-45, 45, 10), "lon": np.linspace(0, 55, 12)}
    return xarray.DataArray(values, coords, ["time", "lat", "lon"], name="t", attrs={"units": "K"}).to_dataset()


class Server(SimpleHTTPRequestHandler):
    """Server of files, also of parts of them."""

    asked: list[str]

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self.asked.append(self.path)
        path = Path(self.translate_path(self.path))
        if self.path.startswith("/broken"):
            return self.send_error(503)
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if wanted is None or not path.is_file():
            return super().do_GET()
        content = path.read_bytes()[int(wanted[1]) : int(wanted[2]) + 1]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {wanted[1]}-{int(wanted[1]) + len(content) - 1}/{path.stat().st_size}")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        return None


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """The address of a server of the files in `tmp_path`, ended however the test ends."""
    Server.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Server, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The file system in memory, empty before and after, and an empty current folder."""
    monkeypatch.chdir(tmp_path)
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield system
    system.store.clear()


@pytest.mark.parametrize("version", [2, 3])
def test_a_store_behind_http_gives_what_the_local_one_gives(
    served: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int
) -> None:
    monkeypatch.chdir(tmp_path)
    dataset().chunk(time=5).to_zarr(tmp_path / "in.zarr", zarr_format=version, consolidated=True)
    here = upscale_here([f"input={tmp_path}/in.zarr", f"output={tmp_path}/here.zarr", "guard=off"])
    made = upscale_here([f"input={served}/in.zarr", "guard=off"])
    assert made == Path("in_x2.zarr")  # in the current folder
    xarray.testing.assert_identical(xarray.open_zarr(here), xarray.open_zarr(made))


def test_workers_read_a_store_behind_http(served: str, tmp_path: Path, script: Script) -> None:
    dataset().chunk(time=5).to_zarr(tmp_path / "in.zarr", zarr_format=3, consolidated=True)
    typed = ["output=out.zarr", "guard=off", "workers=2"]
    done = script("upscale", f"input={served}/in.zarr", *typed)
    assert done.returncode == 0, done.stderr
    again = script("upscale", f"input={served}/in.zarr", *typed)
    assert "nothing is left to do" in again.stdout
    here = upscale_here([f"input={tmp_path}/in.zarr", f"output={tmp_path}/here.zarr", "guard=off"])
    assert np.array_equal(xarray.open_zarr(here).t, xarray.open_zarr(tmp_path / "out.zarr").t, equal_nan=True)


@pytest.mark.parametrize("name", ["in.nc", "in.h5"])
def test_parts_of_files_behind_http_are_read(served: str, tmp_path: Path, name: str) -> None:
    if name == "in.nc":
        dataset().to_netcdf(tmp_path / name, engine="h5netcdf")
    else:
        import h5py

        with h5py.File(tmp_path / name, "w") as file:
            file["t"] = dataset().t.values
    axes = "tyx" if name == "in.h5" else None
    far, near = (open_movie(path, variable="t", axes=axes) for path in (path_or_address(f"{served}/{name}"), tmp_path / name))
    assert np.array_equal(far.read(0, 2, 7), near.read(0, 2, 7), equal_nan=True)
    assert far.meta == near.meta


def test_inspect_describes_what_is_at_an_address(served: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset().to_zarr(tmp_path / "in.zarr", zarr_format=2, consolidated=True)
    inspect_command([f"{served}/in.zarr"])
    said = capsys.readouterr().out
    assert "t  12x10x12  float32  (time, lat, lon)  [K]" in said
    assert re.search(rf"sharpen without a training: vsr upscale .*input=.*{served}/in\.zarr", said)
    assert "vsr train" not in said


def test_a_store_in_memory_becomes_one_in_memory_that_is_seen_when_it_is_complete(
    memory: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    dataset().chunk(time=1).to_zarr("memory://in.zarr", zarr_format=3, consolidated=False)
    typed = ["input=memory://in.zarr", "output=memory://deep/out.zarr", "guard=off", "workers=1"]
    target = path_or_address("memory://deep/out.zarr")
    compute, calls = Engine.__call__, list[int]()

    def interrupted(self: Engine, lr: Any, **options: Any) -> Any:
        calls.append(len(lr))
        assert not target.exists()
        if len(calls) == 4:
            raise KeyboardInterrupt
        return compute(self, lr, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Engine, "__call__", interrupted)
        with pytest.raises(KeyboardInterrupt):
            upscale_here([*typed, "tile=8"])
    status_command(["output=memory://deep/out.zarr"])
    assert "3 done" in capsys.readouterr().out
    with pytest.raises(UserError, match="another command, with other settings, writes it or was killed"):
        upscale_here([*typed, "tile=8", "ensemble=true"])
    assert upscale_here([*typed, "tile=8"]) == target
    here = upscale_here(["input=memory://in.zarr", f"output={tmp_path}/here.zarr", "guard=off", "workers=1", "tile=8"])
    near = {file.relative_to(here).as_posix(): file.read_bytes() for file in here.rglob("*") if file.is_file()}
    far = {name.removeprefix("/deep/out.zarr/"): memory.cat_file(name) for name in memory.find("/deep")}
    assert far == near
    left = [".here.zarr.done.json", units_folder(target).name.replace(".units", ".done.json"), "here.zarr"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(left)
    with caplog.at_level(logging.INFO):
        assert upscale_here([*typed, "tile=8"]) == target
    assert "nothing is left to do" in caplog.text
    with pytest.raises(UserError, match="exists, made with another ensemble"):
        upscale_here([*typed, "ensemble=true"])
    with pytest.raises(UserError, match="stores at an address are not replaced"):
        upscale_here([*typed, "overwrite=true"])
    assert "/deep/out.zarr.begun" not in memory.store


@pytest.mark.parametrize("version", [2, 3])
def test_a_kill_while_the_store_is_made_visible_is_mended(memory: Any, monkeypatch: pytest.MonkeyPatch, version: int) -> None:
    dataset().chunk(time=1).drop_encoding().to_zarr("memory://in.zarr", zarr_format=version, consolidated=version == 2)
    typed = ["input=memory://in.zarr", "output=memory://out.zarr", "guard=off", "workers=1"]
    put = type(memory).pipe_file

    def killed(self: Any, path: str, *arguments: Any, **options: Any) -> None:
        put(self, path, *arguments, **options)
        if path.rpartition("/")[2] in ("zarr.json", ".zgroup") and path.count("/") == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(type(memory), "pipe_file", killed)
        with pytest.raises(KeyboardInterrupt):
            upscale_here(typed)
    upscale_here(typed)
    expected = upscale_here(["input=memory://in.zarr", "output=here.zarr", "guard=off"])
    far, near = (xarray.open_zarr(path, consolidated=version == 2) for path in ("memory://out.zarr", expected))
    xarray.testing.assert_identical(far.drop_attrs(), near.drop_attrs())


def test_two_commands_with_other_settings_never_share_an_address(memory: Any) -> None:
    target = path_or_address("memory://out.zarr")
    zarr_store.begin_at_address(target, {"checkpoint": "a"})
    zarr_store.begin_at_address(target, {"checkpoint": "a"})  # on another machine
    with pytest.raises(UserError, match=r"remove memory://out\.zarr\.begun if nothing writes there"):
        zarr_store.begin_at_address(target, {"checkpoint": "b"})


def test_metadata_that_change_between_two_looks_do_not_reach_the_library(memory: Any) -> None:
    dataset().to_zarr("memory://in.zarr", zarr_format=2, consolidated=True)
    own = json.loads(memory.cat_file("/in.zarr/t/.zarray"))
    memory.pipe_file("/in.zarr/t/.zarray", json.dumps(own | {"filters": [{"id": "pickle"}]}).encode())
    movie = open_movie(path_or_address("memory://in.zarr"), variable="t", axes=None)
    assert np.array_equal(movie.read(0, 0, 12)[0], dataset().t, equal_nan=True)


def test_each_mistake_at_an_address_is_one_line(served: str, tmp_path: Path, script: Script) -> None:
    dataset().to_zarr(tmp_path / "bare.zarr", zarr_format=3, consolidated=False)
    (tmp_path / "text.nc").write_text("no array at all")
    for typed, said in {
        f"input={served}/bare.zarr": "has no consolidated metadata, without which its arrays cannot be listed",
        f"input={served}/none.zarr": "no such file or store; check the address",
        f"input={served}/text.nc": "neither a Zarr store nor a file of NetCDF-4 or HDF5; download it",
        f"input={served}/broken.zarr": "cannot be fetched",
        f"input={served}/movie.mp4": "videos and pictures are not read from an address; download it",
        "input=s3://bucket/in.zarr": "needs s3fs; type: pip install 'vsr-movies[s3]'",
        "input=nowhere://bucket/in.zarr": "fsspec knows no nowhere://",
        "input=http://127.0.0.1:9/in.zarr": "check the address, the network and the credentials",
    }.items():
        refused(script("upscale", typed), said)
    dataset().to_zarr(tmp_path / "in.zarr", zarr_format=3, consolidated=True)
    for output, said in {
        "http://127.0.0.1:9/out.zarr": "http:// is only read",
        "memory://out.nc": "only Zarr is written to an address",
        "memory://out.zarr": "is written in units; type workers=1 with it",
    }.items():
        refused(script("upscale", f"input={tmp_path}/in.zarr", f"output={output}"), said)
    refused(script("upscale", f"input={tmp_path}/in.zarr", "output=memory://o.zarr", "workers=dask://h:1"), "type workers=N")
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "runs") == ["bare.zarr", "in.zarr", "text.nc"]
