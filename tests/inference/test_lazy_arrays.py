"""Lazy upscaling of Dask arrays: equal to the result in memory, whatever the chunks and the scheduler."""

from __future__ import annotations

import pickle
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vsr
from tests.fakes import TINY_CLIMATE, train_here
from tests.inference.test_members import checkpoint  # noqa: F401  (a fixture)
from vsr.errors import UserError
from vsr.inference import lazy_arrays
from vsr.inference.upscaler import Upscaler

xarray = pytest.importorskip("xarray")
da = pytest.importorskip("dask.array")

import vsr.xarray  # noqa: E402  (adds the accessor)

OPTIONS: list[dict[str, Any]] = [{}, {"periodic": "x"}, {"consistency": "projection"}, {"tile": 9}, {"memory": 1}]
NETWORKS = ("field_x2", "field_x3", "field_area_x4", "fsrcnn", "srnet3d")


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path | str]:
    folder = tmp_path_factory.mktemp("networks")
    found: dict[str, Path | str] = {name: f"pretrained:{name}" for name in NETWORKS if "field" in name}
    for name in ("fsrcnn", "srnet3d"):
        train_here(folder / name, [*TINY_CLIMATE, f"model={name}", "recipe.patch=8", "recipe.steps=2", "recipe.batch=1"])
        found[name] = folder / name / "checkpoints" / "best.ckpt"
    return found


def chunks_of(draw: st.DrawFn, size: int) -> tuple[int, ...]:
    """Chunks of an axis: uneven ones, and chunks of one."""
    cuts = draw(st.one_of(st.just(set(range(1, size))), st.sets(st.integers(1, max(1, size - 1)), max_size=3)))
    edges = [0, *sorted(cut for cut in cuts if cut < size), size]
    return tuple(b - a for a, b in pairwise(edges))


@st.composite
def movies(draw: st.DrawFn) -> Any:
    """A DataArray of Dask chunks: of any size, type, order of axes and gaps."""
    sizes = {"member": draw(st.integers(1, 2)), "time": draw(st.integers(1, 12)), "lat": draw(st.integers(5, 17))}
    sizes["lon"] = draw(st.integers(5, 17))
    dims = draw(st.permutations(list(sizes)))
    if draw(st.booleans()):
        dims = [name for name in dims if name != "member"]
    if draw(st.booleans()):
        dims = [name for name in dims if name != "time"]
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    values = 280 + 5 * rng.standard_normal([sizes[name] for name in dims])
    dtype = draw(st.sampled_from(["<f4", "<f8", ">f4", "<i2", "<f2"]))
    if dtype != "<i2" and draw(st.booleans()):
        values[rng.random(values.shape) < 0.1] = np.nan
    coords = {"lat": np.linspace(-60, 60, sizes["lat"])}
    if draw(st.booleans()):
        coords["lon"] = np.arange(sizes["lon"]) * 360 / sizes["lon"]  # goes round
    chunks = tuple(chunks_of(draw, sizes[name]) for name in dims)
    return xarray.DataArray(da.from_array(values.astype(dtype), chunks=chunks), coords, dims, name="t", attrs={"units": "K"})


@pytest.mark.parametrize("number", [pytest.param(n, marks=[pytest.mark.long] if n else []) for n in range(20)])
def test_lazy_equals_eager_bit_for_bit(networks: dict[str, Path | str], number: int) -> None:
    loaded: dict[Any, Upscaler] = {}

    @settings(max_examples=25, deadline=None, derandomize=False)
    @given(movie=movies(), name=st.sampled_from(NETWORKS), option=st.sampled_from(range(len(OPTIONS))))
    def check(movie: Any, name: str, option: int) -> None:
        key = (name, option)
        if key not in loaded:
            loaded[key] = vsr.load(networks[name], **OPTIONS[option])
        lazy = movie.vsr.upscale(loaded[key])
        assert lazy_arrays.is_lazy(lazy.data)
        expected = loaded[key].upscale(movie.compute())
        found = lazy.compute(scheduler="synchronous")
        assert lazy.dtype == found.dtype == expected.dtype
        xarray.testing.assert_identical(found, expected)

    check()


MEMBERS: list[dict[str, Any]] = [
    {"members": 5, "keep": "members"},
    {"members": 5, "keep": ("mean", "std"), "tile": 9},
    {"members": 3, "keep": ("q50",), "memory": 1, "seed": 7, "periodic": "x"},
]


@pytest.mark.parametrize("option", range(len(MEMBERS)))
def test_lazy_members_equal_eager_ones_bit_for_bit(checkpoint: Path, option: int) -> None:  # noqa: F811
    network = vsr.load(checkpoint, **MEMBERS[option])

    @settings(max_examples=8, deadline=None)
    @given(movie=movies())
    def check(movie: Any) -> None:
        if "member" in movie.dims:
            movie = movie.rename(member="level")
        lazy = movie.vsr.upscale(network)
        assert lazy_arrays.is_lazy(lazy.data)
        expected = network.upscale(movie.compute())
        assert lazy.dtype == expected.dtype
        xarray.testing.assert_identical(lazy.compute(scheduler="synchronous"), expected)

    check()


@pytest.mark.parametrize("scheduler", ["threads", pytest.param("processes", marks=pytest.mark.long)])
def test_other_schedulers_give_the_same_members(checkpoint: Path, scheduler: str, tmp_path: Path) -> None:  # noqa: F811
    values = 300 + np.random.default_rng(0).random((3, 24, 20, 30)).astype("<f4")
    movie = xarray.DataArray(values, dims=("level", "time", "y", "x"), name="u").to_dataset().chunk(time=1)
    network = vsr.load(checkpoint, members=4, keep=("mean", "std"), tile=9)
    finer, expected = movie.vsr.upscale(network), network.upscale(movie.u.compute())
    assert finer.u.chunks[:2] == ((2,), (1, 1, 1))
    import dask

    with dask.config.set(scheduler=scheduler):
        finer.to_zarr(tmp_path / "finer.zarr", zarr_format=2)
    made = xarray.open_zarr(tmp_path / "finer.zarr")
    assert made.statistic.values.tolist() == ["mean", "std"]
    np.testing.assert_array_equal(made.u, expected)


@pytest.mark.parametrize("scheduler", ["threads", pytest.param("processes", marks=pytest.mark.long)])
def test_other_schedulers_give_the_same(networks: dict[str, Path | str], scheduler: str, tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal((9, 20, 30)).astype("<f4")
    movie = xarray.DataArray(values, dims=("time", "y", "x"), name="u").to_dataset().chunk(time=2)
    for name in ("field_x2", "srnet3d"):
        finer = movie.vsr.upscale(networks[name], memory=1)
        expected = vsr.load(networks[name], memory=1).upscale(values)
        assert np.array_equal(finer.u.compute(scheduler=scheduler), expected)
    import dask

    with dask.config.set(scheduler=scheduler):
        finer.to_zarr(tmp_path / "finer.zarr")
    if scheduler == "processes":  # xarray's lock of HDF5 files is for threads
        return
    finer.to_netcdf(tmp_path / "finer.nc", engine="h5netcdf")
    assert np.array_equal(xarray.open_zarr(tmp_path / "finer.zarr").u, expected)
    assert np.array_equal(xarray.open_dataset(tmp_path / "finer.nc", engine="h5netcdf").u, expected)


@pytest.mark.long
def test_a_cluster_gets_the_network_once(networks: dict[str, Path | str]) -> None:
    distributed = pytest.importorskip("distributed")
    values = np.random.default_rng(0).standard_normal((24, 20, 30)).astype("<f4")
    movie = xarray.DataArray(values, dims=("time", "y", "x")).chunk(time=2)
    network = vsr.load(networks["srnet3d"], memory=1)
    cluster = distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
    with cluster, distributed.Client(cluster):
        assert np.array_equal(movie.vsr.upscale(network).compute(), network.upscale(values))


def test_a_worker_with_another_version_is_refused(networks: dict[str, Path | str], monkeypatch: pytest.MonkeyPatch) -> None:
    network = vsr.load(networks["field_x2"])
    sent = pickle.dumps(network)
    assert pickle.loads(sent) is pickle.loads(sent)
    monkeypatch.setattr("vsr.inference.upscaler.__version__", "0.0.1")
    with pytest.raises(UserError, match=r"this worker has vsr 0\.0\.1 .*install the same versions on all workers"):
        pickle.loads(sent)


def test_what_cannot_be_planned_is_refused(networks: dict[str, Path | str]) -> None:
    array = da.zeros((6, 8, 8), chunks=2)
    unknown = xarray.DataArray(array[array[:, 0, 0] > 0], dims=("time", "y", "x"))
    with pytest.raises(UserError, match="compute_chunk_sizes"):
        unknown.vsr.upscale(networks["field_x2"])
    with pytest.raises(UserError, match="holds no pixel"):
        xarray.DataArray(array[:0], dims=("time", "y", "x")).vsr.upscale(networks["field_x2"])
    with pytest.raises(TypeError, match="memory: options belong to vsr.load"):
        xarray.DataArray(array, dims=("time", "y", "x")).vsr.upscale(vsr.load(networks["field_x2"]), memory=1)


def test_a_terabyte_is_planned_without_reading_it() -> None:
    def read(*_: object) -> np.ndarray:
        raise AssertionError("a chunk was read")

    year = da.map_blocks(
        read, da.zeros((8760 * 30, 721, 1440), chunks=(24, 721, 1440), dtype="<f4"), dtype="<f4", meta=np.zeros(0)
    )
    finer = xarray.DataArray(year, dims=("time", "lat", "lon")).vsr.upscale(scale=2)
    assert finer.shape == (8760 * 30, 1442, 2880)
    assert finer.nbytes > 4e12
