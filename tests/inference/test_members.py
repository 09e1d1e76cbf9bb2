"""Members of an ensemble: equal for any cut of a movie, from Python, with xarray and from file to file; and what is refused."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray
from hypothesis import given, settings
from hypothesis import strategies as st

import vsr
from tests.conftest import Script
from tests.fakes import upscale_here
from vsr.errors import UserError
from vsr.inference.engine import Engine
from vsr.models.residual import StandardizedResidual
from vsr.system.work_units import WorkUnits, units_folder

WAVES = np.sin(np.arange(30)[:, None, None] * 0.3 + np.arange(24)[:, None] * 0.7) * np.cos(np.arange(24) * 0.7)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short-trained ensemble of values around 300."""
    movie = (300 + WAVES).astype(np.float32)
    run = vsr.fit(
        {"_target_": "vsr.models.stacked.Stacked", "frames": 3, "width": 8, "blocks": 1},
        movie,
        folder=tmp_path_factory.mktemp("ensemble"),
        epochs=2,
        members=2,
        recipe={"patch": 8, "steps": 6, "frames": 5},
        logger="csv",
        overrides=["strategy=cpu"],
    )
    return run.checkpoint


@given(tile=st.sampled_from([None, 0, 13]), memory=st.sampled_from([1, 512]), keep=st.integers(2, 6), start=st.integers(0, 3))
@settings(max_examples=8, deadline=None)
def test_members_do_not_depend_on_tiles_blocks_or_their_number(
    checkpoint: Path, tile: int | None, memory: int, keep: int, start: int
) -> None:
    lr = 300 + np.random.default_rng(start).random((9, 17, 19)).astype(np.float32)
    six = vsr.load(checkpoint, members=6, keep="members").upscale(lr)
    some = vsr.load(checkpoint, members=keep, keep="members", tile=tile, memory=memory).upscale(lr)
    assert some.shape == (keep, 9, 34, 38)
    np.testing.assert_allclose(some, six[:keep], atol=2e-4)
    assert np.abs(np.diff(six, axis=0)).max() > 1e-3
    other = vsr.load(checkpoint, members=keep, keep="members", seed=1).upscale(lr)
    assert np.abs(other - some).max() > 1e-3


def test_the_network_runs_once_for_all_members(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network, calls, real = vsr.load(checkpoint, members=20, tile=0), [], StandardizedResidual.forward
    monkeypatch.setattr(StandardizedResidual, "forward", lambda self, lr: calls.append(lr.shape[1]) or real(self, lr))
    network.upscale(np.full((1, 9, 8), 300.0, np.float32))
    assert calls == [1]


def test_statistics_are_those_of_the_members(checkpoint: Path) -> None:
    lr = 300 + np.random.default_rng(0).random((4, 9, 8))
    members = vsr.load(checkpoint, members=19, keep="members").upscale(lr)
    assert members.dtype == np.float64
    keep = ("mean", "std", "q05", "q50")
    mean, std, low, middle = vsr.load(checkpoint, members=19, keep=keep).upscale(lr)
    np.testing.assert_allclose(mean, members.mean(0), atol=1e-4)
    np.testing.assert_allclose(std, members.std(0, ddof=1), atol=1e-4)
    np.testing.assert_allclose(low, members.min(0), atol=1e-4)  # the first of 19
    np.testing.assert_allclose(middle, np.median(members, axis=0), atol=1e-4)
    lr[1, 2, 3] = np.nan
    gaps = vsr.load(checkpoint, members=3, keep=("mean", "std")).upscale(lr)
    assert np.isnan(gaps[:, 1, 4:6, 6:8]).all()
    assert np.isnan(gaps).sum() == 2 * 4


def test_a_file_has_a_dimension_of_members_or_arrays_of_statistics(checkpoint: Path, tmp_path: Path, script: Script) -> None:
    rng = np.random.default_rng(0)
    given_ = xarray.Dataset(
        {"h": (("time", "lat", "lon"), 300 + rng.random((6, 9, 10)), {"units": "m"})},
        coords={"time": np.arange(6.0), "lat": np.linspace(40.0, 48.0, 9), "lon": np.linspace(0.0, 9.0, 10)},
    )
    given_.to_netcdf(tmp_path / "lr.nc")
    command = ["upscale", f"checkpoint={checkpoint}", "input=lr.nc", "members=4", "device=cpu", "guard=off"]
    for name, more in {
        "all.nc": ["keep=members"],
        "some.nc": [],
        "some.npz": ["keep=[mean,std]"],
        "all.npy": ["keep=members"],
        "mean.npy": ["keep=[mean]"],
    }.items():
        assert script(*command, f"output={name}", *more).returncode == 0
    network = vsr.load(checkpoint, members=4, keep="members")
    found = network.upscale(given_.h)
    assert found.dims == ("member", "time", "lat", "lon")
    with xarray.open_dataset(tmp_path / "all.nc") as file:
        assert file.h.dims == ("time", "member", "lat", "lon")
        assert file.member.values.tolist() == [1, 2, 3, 4]
        assert file.member.attrs == {"standard_name": "realization", "long_name": "number of the member", "units": "1"}
        np.testing.assert_allclose(file.h.transpose(*found.dims).values, found.values, rtol=0, atol=1e-4)
        assert np.load(tmp_path / "all.npy").shape == file.h.shape
        np.testing.assert_allclose(np.load(tmp_path / "mean.npy"), file.h.mean("member").values, atol=1e-4)
    with xarray.open_dataset(tmp_path / "some.nc") as file:
        np.testing.assert_allclose(file.h.values, found.mean("member").values, atol=1e-4)
        np.testing.assert_allclose(file.h_std.values, found.std("member", ddof=1).values, atol=1e-4)
        assert file.h_std.attrs["units"] == "m"
        assert file.h_std.attrs["cell_methods"] == "realization: standard_deviation"
        assert file.h_std.attrs["long_name"] == "h, standard deviation of 4 members"
        assert file.h.attrs["long_name"] == "h, mean of 4 members"
        assert file.h.attrs["cell_methods"] == "realization: mean"
    statistics = vsr.load(checkpoint, members=4).upscale(given_.h)
    assert statistics.statistic.values.tolist() == ["mean", "std"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"members": 1}, "members=1: must be 2 or more"),
        ({"members": 4, "keep": "q05"}, "keep=q05: this quantile needs 19 members, and members=4; type members=19"),
        ({"members": 4, "keep": "median"}, "keep=median: must be members, mean, std or a quantile"),
        ({"members": 4, "keep": ("members", "mean")}, "must be members alone, or statistics"),
        ({"members": 4, "ensemble": True}, "ensemble=true: is the mean over flips"),
    ],
)
def test_what_cannot_be_kept_is_refused(checkpoint: Path, options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message.replace("(", r"\(")):
        vsr.load(checkpoint, **options)


def test_networks_without_noise_and_files_of_one_array_are_refused(checkpoint: Path, tmp_path: Path, script: Script) -> None:
    with pytest.raises(UserError, match="members=4: this network is no ensemble; train one with vsr train members=2"):
        vsr.load("pretrained:field_x2", members=4)
    with pytest.raises(UserError, match=r"keep=\[mean,std\]: is for members or intervals; type members=16 or calibration=FILE"):
        vsr.load(checkpoint, keep=["mean", "std"])
    np.save(tmp_path / "lr.npy", 300 + np.zeros((4, 8, 8)))
    given_ = ["upscale", f"checkpoint={checkpoint}", "input=lr.npy", "axes=tyx", "members=4"]
    done = script(*given_)
    assert done.returncode == 1
    assert "this output holds one array; type keep=members" in done.stderr
    assert not list(tmp_path.glob("*x2*"))


@pytest.mark.parametrize("model", ["srnet3d", "two_stage", "field", "linear"])
def test_networks_that_cannot_be_ensembles_are_refused(model: str, tmp_path: Path) -> None:
    movie = np.tile(WAVES, (1, 2, 2)).astype(np.float32)
    with pytest.raises(UserError, match="members=2: is for single networks over bicubic that lose no border, not for"):
        vsr.fit(model, movie, folder=tmp_path, members=2, epochs=0, logger="csv", overrides=["strategy=cpu"])


def test_an_ensemble_begins_as_the_network_that_it_starts_from(tmp_path: Path) -> None:
    quick: dict = {"recipe": {"patch": 8, "steps": 2, "frames": 5}, "logger": "csv"}
    network = {"_target_": "vsr.models.stacked.Stacked", "frames": 3, "width": 8, "blocks": 1}
    movie = WAVES.astype(np.float32)
    first = vsr.fit(network, movie, folder=tmp_path / "network", epochs=1, overrides=["strategy=cpu"], **quick)
    start = ["strategy=cpu", "init=checkpoint", f"weights={first.checkpoint}"]
    ensemble = vsr.fit(network, movie, folder=tmp_path / "ensemble", epochs=0, members=2, overrides=start, **quick)
    expected = first.upscale(movie[:5, :12, :12])
    np.testing.assert_allclose(ensemble.upscale(movie[:5, :12, :12]), expected, atol=1e-6)
    members = vsr.load(ensemble.checkpoint, members=3, keep="members").upscale(movie[:5, :12, :12])
    np.testing.assert_allclose(members, np.broadcast_to(expected, members.shape), atol=1e-6)


def test_each_kept_array_says_what_it_is(checkpoint: Path, tmp_path: Path) -> None:
    values = 300 + np.random.default_rng(0).random((2, 9, 10))
    attrs = {"units": "m", "long_name": "depth", "cell_methods": "time: mean"}
    xarray.DataArray(values, dims=("time", "y", "x"), name="h", attrs=attrs).to_netcdf(tmp_path / "lr.nc")
    typed = [f"checkpoint={checkpoint}", f"input={tmp_path}/lr.nc", f"output={tmp_path}/sr.nc", "members=19", "guard=off"]
    with xarray.open_dataset(upscale_here([*typed, "keep=[q05,std,q50]"])) as found:
        said = {name: array.attrs["long_name"] for name, array in found.items()}
        methods = {name: array.attrs["cell_methods"] for name, array in found.items()}
    assert said == {
        "h_q05": "depth, 5% quantile of 19 members",
        "h_std": "depth, standard deviation of 19 members",
        "h_q50": "depth, 50% quantile of 19 members",
    }
    assert methods == {"h_q05": "time: mean", "h_std": "time: mean realization: standard_deviation", "h_q50": "time: mean"}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A Zarr store of two levels of 22 frames with a gap, each a movie of its own."""
    values = 300 + np.random.default_rng(0).random((22, 2, 9, 10)).astype("<f4")
    values[5, 1, :3] = np.nan
    coords = {"time": np.arange(22) * 0.5, "lat": np.linspace(40.0, 48.0, 9), "lon": np.linspace(0.0, 9.0, 10)}
    array = xarray.DataArray(values, coords, ["time", "level", "lat", "lon"], name="h", attrs={"units": "m"})
    array.to_dataset().chunk(time=7).to_zarr(tmp_path / "in.zarr", zarr_format=3, consolidated=False)
    return tmp_path / "in.zarr"


def typed(checkpoint: Path, archive: Path, output: str, *more: str) -> list[str]:
    given_ = [f"checkpoint={checkpoint}", f"input={archive}", f"output={archive.parent / output}", "select={level:all}"]
    return [*given_, "guard=off", *more]


def files_below(folder: Path) -> dict[str, bytes]:
    """The bytes of each file, by its path in a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize(("keep", "tile"), [("members", "null"), ("[mean,std,q50]", 8)])
def test_workers_give_the_members_of_one_process(checkpoint: Path, archive: Path, keep: str, tile: object) -> None:
    command = ["members=4", f"keep={keep}", f"tile={tile}", "seed=3"]
    whole = upscale_here(typed(checkpoint, archive, "whole.zarr", *command))
    parts = upscale_here(typed(checkpoint, archive, "parts.zarr", *command, "workers=1"))
    with xarray.open_zarr(whole, consolidated=False) as expected, xarray.open_zarr(parts, consolidated=False) as found:
        xarray.testing.assert_identical(found, expected)
        assert np.isnan(found.h).any()
        levels = found.h.isel(time=slice(6, 12)).transpose("level", ...)
        assert float(abs(levels[0] - levels[1]).max()) > 1e-3
        names = {"h"} if keep == "members" else {"h", "h_std", "h_q50"}
        assert names == set(found.data_vars)
        assert ("member" in found.h.dims) == (keep == "members")


def test_the_first_movie_of_an_archive_is_the_lazy_result_of_xarray(checkpoint: Path, archive: Path) -> None:
    pytest.importorskip("dask.array")
    import vsr.xarray  # noqa: F401  (adds the accessor)

    parts = upscale_here(typed(checkpoint, archive, "parts.zarr", "members=4", "keep=members", "workers=1"))
    lazy = xarray.open_zarr(archive, consolidated=False).vsr.upscale(checkpoint, members=4, keep="members")
    with xarray.open_zarr(parts, consolidated=False) as made:
        assert lazy.h.dims == ("member", "time", "level", "lat", "lon")
        first = made.h.isel(level=0).transpose("member", "time", "lat", "lon")
        np.testing.assert_array_equal(lazy.h.isel(level=0), first)


@pytest.mark.long
def test_processes_and_a_cluster_give_the_members_of_one_process(checkpoint: Path, archive: Path, script: Script) -> None:
    distributed = pytest.importorskip("distributed")
    command = ["members=3", "keep=[mean,std]", "tile=8"]
    one = upscale_here(typed(checkpoint, archive, "one.zarr", *command, "workers=1"))
    done = script("upscale", *typed(checkpoint, archive, "two.zarr", *command, "workers=2"))
    assert done.returncode == 0, done.stderr
    assert files_below(one) == files_below(archive.parent / "two.zarr")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=2, dashboard_address=None) as cluster:
        address = cluster.scheduler_address.replace("tcp://", "dask://")
        made = upscale_here(typed(checkpoint, archive, "cluster.zarr", *command, f"workers='{address}'"))
    assert files_below(one) == files_below(made)


def test_another_seed_or_choice_is_another_output(checkpoint: Path, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["members=3", "workers=1"]
    one = upscale_here(typed(checkpoint, archive, "one.zarr", *command))
    compute, calls = Engine.__call__, list[int]()

    def interrupted(self: Engine, lr: torch.Tensor, **options: Any) -> torch.Tensor:
        calls.append(len(lr))
        if len(calls) > 2:
            raise KeyboardInterrupt
        return compute(self, lr, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Engine, "__call__", interrupted)
        with pytest.raises(KeyboardInterrupt):
            upscale_here(typed(checkpoint, archive, "again.zarr", *command))
    others = {"seed=1": r"seed \(0, now 1\)", "keep=[mean]": "keep", "keep=members": "keep"}
    for more, name in others.items():
        with pytest.raises(UserError, match=f"left by a run with another {name}"):
            upscale_here(typed(checkpoint, archive, "again.zarr", *command, more))
    again = upscale_here(typed(checkpoint, archive, "again.zarr", *command))
    assert files_below(one) == files_below(again)
    for more, name in others.items():
        with pytest.raises(UserError, match=rf"again\.zarr: exists, made with another {name}"):
            upscale_here(typed(checkpoint, archive, "again.zarr", *command, more))
    with pytest.raises(UserError, match="guard=linear: the linear filter has neither members nor intervals"):
        upscale_here([*typed(checkpoint, archive, "none.zarr", *command)[:4], *command, "guard=linear"])


def test_the_plan_counts_what_is_kept(checkpoint: Path, archive: Path, caplog: pytest.LogCaptureFixture) -> None:
    said = {}
    for more, kept in (("members=null", "null"), ("members=4", "members"), ("members=40", "members")):
        caplog.clear()
        with caplog.at_level(logging.INFO):
            upscale_here(typed(checkpoint, archive, "out.zarr", "workers=1", "dry=true", f"keep={kept}", more))
        assert "the network alone with 1 worker(s)" in caplog.text
        found = re.search(r"writes up to ([0-9.]+) (\w+), at most about ([0-9.]+) (\w+) of memory", caplog.text)
        assert found is not None, caplog.text
        said[more] = [float(found[i]) * {"KiB": 1, "MiB": 2**10}[found[i + 1]] for i in (1, 3)]
    assert said["members=4"][0] == pytest.approx(4 * said["members=null"][0], rel=0.1)
    assert said["members=40"][0] == pytest.approx(40 * said["members=null"][0], rel=0.1)
    assert said["members=40"][1] > said["members=4"][1] > said["members=null"][1]


def test_members_go_to_a_store_at_an_address(checkpoint: Path, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsspec = pytest.importorskip("fsspec")
    monkeypatch.chdir(archive.parent)
    memory = fsspec.filesystem("memory")
    command = [f"checkpoint={checkpoint}", f"input={archive}", "select={level:0}", "guard=off", "members=3", "workers=1"]
    try:
        memory.store.clear()
        for name, keep in {"all": "members", "some": "[mean,std]"}.items():
            here = upscale_here([*command, f"keep={keep}", f"output={name}.zarr"])
            upscale_here([*command, f"keep={keep}", f"output=memory://{name}.zarr"])
            far = {path.removeprefix(f"/{name}.zarr/"): memory.cat_file(path) for path in memory.find(f"/{name}.zarr")}
            assert far == files_below(here)
    finally:
        memory.store.clear()


def test_many_files_have_members_of_their_own(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(2):
        values = 300 + np.random.default_rng(number).random((3, 9, 10))
        xarray.DataArray(values, dims=("time", "y", "x"), name="h").to_netcdf(folder / f"{number}.nc")
    command = [f"checkpoint={checkpoint}", f"input={folder}/*.nc", "guard=off", "members=3"]
    upscale_here([*command, f"output={tmp_path}/plain"])
    upscale_here([*command, f"output={tmp_path}/finer", "workers=1"])
    for name in ("0_x2.nc", "1_x2.nc"):
        with xarray.open_dataset(tmp_path / "plain" / name) as expected, xarray.open_dataset(tmp_path / "finer" / name) as found:
            assert set(found.data_vars) == {"h", "h_std"}
            xarray.testing.assert_identical(found, expected)

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Engine, "__call__", stopped)
        with pytest.raises(KeyboardInterrupt):
            upscale_here([*command, f"output={tmp_path}/again", "workers=1"])
    assert WorkUnits(units_folder(tmp_path / "again")).claim() == 0  # as if another command were at it
    with pytest.raises(UserError, match=r"other processes write here, with other seed \(0, now 1\)"):
        upscale_here([*command, f"output={tmp_path}/again", "workers=1", "seed=1"])


def test_a_movie_that_has_members_already_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    forecasts = xarray.DataArray(300 + np.zeros((2, 3, 8, 9)), dims=("member", "time", "y", "x"), name="h")
    network = vsr.load(checkpoint, members=3, keep="members")
    for movie in (forecasts, forecasts.assign_coords(member=[0, 1]).isel(member=1)):
        with pytest.raises(UserError, match=r'member: is in the movie already.*type movie\.rename\(member="of_lr"\) first'):
            network.upscale(movie)
    assert network.upscale(forecasts.rename(member="of_lr")).dims == ("member", "of_lr", "time", "y", "x")
    forecasts.to_netcdf(tmp_path / "lr.nc")
    command = [f"checkpoint={checkpoint}", f"input={tmp_path}/lr.nc", f"output={tmp_path}/sr.nc", "guard=off", "members=3"]
    with pytest.raises(UserError, match=r"keep=members: the input has members already.*type keep=\[mean,std\]"):
        upscale_here([*command, "keep=members", "select={member:all}"])
    assert not (tmp_path / "sr.nc").exists()
