"""docs/guides/archives.md and its notebook, run as they stand, and stores that are not on this disk."""

from __future__ import annotations

import functools
import json
import re
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from tests.fakes import ROOT

xarray = pytest.importorskip("xarray")
pytest.importorskip("dask.array")
zarr = pytest.importorskip("zarr")

import vsr.xarray  # noqa: E402, F401  (adds the accessor)

GUIDES = ROOT / "docs" / "guides"


def archive() -> xarray.Dataset:
    values = np.random.default_rng(0).standard_normal((6, 10, 12)).astype("f4")
    return xarray.Dataset({"t": (("time", "lat", "lon"), values)}).chunk(time=2)


def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cells = json.loads((GUIDES / "archives.ipynb").read_text(encoding="utf-8"))["cells"]
    names: dict[str, object] = {}
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert len(code) == 5
    for each in code:
        exec(compile(each, "archives.ipynb", "exec"), names)
    assert (tmp_path / "fine.zarr").is_dir()


def test_the_python_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    archive().to_zarr("in.zarr")
    [code] = re.findall(r"```python\n(.*?)```", (GUIDES / "archives.md").read_text(encoding="utf-8"), re.S)
    exec(compile(code, "archives.md", "exec"), {})
    assert xarray.open_zarr("fine.zarr").t.shape == (6, 20, 24)


def test_stores_in_memory_are_read_and_written() -> None:
    coarse, fine = zarr.storage.MemoryStore(), zarr.storage.MemoryStore()
    archive().to_zarr(coarse, consolidated=False)
    xarray.open_zarr(coarse, consolidated=False).vsr.upscale().to_zarr(fine, consolidated=False)
    expected = archive().compute().vsr.upscale()
    assert np.array_equal(xarray.open_zarr(fine, consolidated=False).t, expected.t)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """The address of a server of the files in `tmp_path`."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_store_behind_http_is_read(served: str, tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    archive().to_zarr(tmp_path / "in.zarr", zarr_format=2, consolidated=True)
    coarse = xarray.open_zarr(f"{served}/in.zarr", consolidated=True)
    assert np.array_equal(coarse.vsr.upscale().t, archive().compute().vsr.upscale().t)
