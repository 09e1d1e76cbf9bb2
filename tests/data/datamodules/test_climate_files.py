"""The user's own fields: every format trains, lands upright, and files beyond memory are read in blocks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from scipy.io import savemat

from tests.fakes import assert_same_scores, evaluate_here, train_here
from tests.io.readers.test_open import REAL, write_matlab73
from vsr.data.datamodules.climate import ClimateDataModule
from vsr.data.frames import MemoryFrames
from vsr.data.lazy_frames import LazyFrames
from vsr.degradations import Bicubic, Chain
from vsr.degradations.resize import resize_bicubic_up
from vsr.errors import UserError
from vsr.recipe import Recipe

QUICK = ["data=climate", "recipe.patch=8", "recipe.steps=3"]
COMMON = {"scale": 2, "degradation": Bicubic(), "recipe": Recipe(patch=6)}


def flow(frames: int = 12, height: int = 24, width: int = 32, seed: int = 0) -> np.ndarray:
    """(T, Y, X) float32: a tilted, moving front whose values tell the axes apart: mean grows along y, twice as fast along x."""
    rng = np.random.default_rng(seed)
    t, y, x = np.meshgrid(np.arange(frames), np.arange(height), np.arange(width), indexing="ij")
    phase = rng.uniform(0, 6)
    return (0.1 * y + 0.2 * x + np.tanh((x - y + 2 * t - 10) / 2) + np.sin(0.5 * y + 0.2 * t + phase)).astype(np.float32)


def write(path: Path, kind: str, values: np.ndarray) -> list[str]:
    """Write (T, Y, X) values in a format; the overrides that read them."""
    yxt = values.transpose(1, 2, 0)
    if kind == "v5":
        savemat(path, {"H": yxt})
        return ["data.axes=yxt"]
    if kind == "v7.3":
        write_matlab73(path, "H", yxt)
        return ["data.axes=yxt"]
    if kind == "h5":
        with h5py.File(path, "w") as file:
            file.create_dataset("H", data=values, chunks=(1, *values.shape[1:]), compression="gzip")
        return ["data.axes=tyx"]
    if kind == "npz":
        np.savez(path, H=values.transpose(2, 1, 0))
        return ["data.axes=xyt"]
    if kind == "npy":
        np.save(path, values)
        return ["data.axes=tyx"]
    if kind == "zarr":
        zarr = pytest.importorskip("zarr")
        zarr.save_group(str(path), H=values)
        return ["data.axes=tyx"]
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    dims = {"time": np.arange(len(values)), "lat": np.arange(values.shape[1]), "lon": np.arange(values.shape[2])}
    xarray.DataArray(values, dims, tuple(dims), name="H").to_netcdf(path, engine="h5netcdf")
    return []


@pytest.mark.parametrize("kind", ["v5", "v7.3", "h5", "npz", "npy", "zarr", "nc"])
@pytest.mark.sampled(3)
def test_every_format_trains_and_is_upright(kind: str, tmp_path: Path) -> None:
    values = flow()
    path = tmp_path / f"field.{kind if kind not in ('v5', 'v7.3') else 'mat'}"
    axes = write(path, kind, values)
    results = train_here(tmp_path / "run", [*QUICK, f"data.path={path}", *axes])
    assert results["protocol"]["data"]["size"] == [24, 32]
    assert results["protocol"]["data"]["frames"] == {"train": 6, "val": 2, "test": 4}
    assert results["protocol"]["data"]["bounds"] == [float(values[:6].min()), float(values[:6].max())]
    data = ClimateDataModule(path=str(path), axes=axes[0].partition("=")[2] if axes else None, **COMMON)
    data.setup()
    np.testing.assert_array_equal(data.sets["test"].pair.hr[:, 0].numpy(), values[8:])
    again = evaluate_here(tmp_path / "again", [f"checkpoint={tmp_path}/run/checkpoints/best.ckpt"])
    assert_same_scores(again["rows"], results["rows"])


@pytest.mark.skipif(not REAL.is_file(), reason="the real climate file is not here")
def test_a_real_climate_file_trains(tmp_path: Path) -> None:
    results = train_here(tmp_path, [*QUICK, f"data.path={REAL.resolve()}"])
    assert results["protocol"]["data"]["size"] == [36, 48]
    assert results["protocol"]["data"]["frames"] == {"train": 134, "val": 34, "test": 72}
    low, high = results["protocol"]["data"]["bounds"]
    assert 200 < low < high < 330  # kelvin


def test_bounds_of_the_checkpoint_are_used_on_other_files(tmp_path: Path) -> None:
    write(tmp_path / "a.npy", "npy", flow())
    write(tmp_path / "b.npy", "npy", flow(seed=3) * 2)
    run = [f"data.path={tmp_path}/a.npy", "data.axes=tyx"]
    first = train_here(tmp_path / "run", [*QUICK, *run])
    checkpoint = f"checkpoint={tmp_path}/run/checkpoints/best.ckpt"
    other = evaluate_here(tmp_path / "b", [checkpoint, "data=climate", f"data.path={tmp_path}/b.npy", "data.axes=tyx"])
    assert other["protocol"]["data"]["bounds"] == first["protocol"]["data"]["bounds"]
    given = [checkpoint, "data=climate", f"data.path={tmp_path}/b.npy", "data.axes=tyx", "data.bounds=[-5,20]"]
    assert evaluate_here(tmp_path / "c", given)["protocol"]["data"]["bounds"] == [-5.0, 20.0]


def test_several_variables_are_channels_and_several_movies_are_split_whole(tmp_path: Path) -> None:
    np.savez(tmp_path / "uvh.npz", **{name: flow(seed=i) for i, name in enumerate("huv")})
    results = train_here(tmp_path / "a", [*QUICK, f"data.path={tmp_path}/uvh.npz", "data.variable=[h,u,v]", "data.axes=tyx"])
    assert results["protocol"]["data"]["channels"] == 3
    np.save(tmp_path / "n.npy", np.stack([flow(6, seed=i) for i in range(5)]))
    data = ClimateDataModule(path=str(tmp_path / "n.npy"), axes="ntyx", **COMMON)
    data.setup()
    assert data.card["frames"] == {"train": 12, "val": 6, "test": 6}


def test_land_is_refused_or_masked(tmp_path: Path) -> None:
    values = flow()
    values[:, :10, :12] = np.nan
    np.save(tmp_path / "sea.npy", values)
    run = [*QUICK, f"data.path={tmp_path}/sea.npy", "data.axes=tyx"]
    with pytest.raises(UserError, match=r"6 of the frames 0 to 5 hold NaN.*the first is frame 0.*type data.mask=true"):
        train_here(tmp_path / "a", [*run, "data.mask=false"])
    results = train_here(tmp_path / "b", [*run, "data.mask=true", "model=bicubic"])
    chosen = train_here(tmp_path / "chosen", [*run, "model=bicubic"])
    assert_same_scores(chosen["rows"], results["rows"])
    data = ClimateDataModule(path=str(tmp_path / "sea.npy"), axes="tyx", mask=True, **COMMON)
    data.setup()
    pair = data.sets["test"].pair
    assert torch.isfinite(pair.hr).all()
    low, high = data.bounds
    error = ((resize_bicubic_up(pair.lr, 2) - pair.hr) / (high - low))[:, 0, 4:-4, 4:-4].double().numpy()
    sea = ~np.isnan(values[8:, 4:-4, 4:-4])
    row = next(row for row in results["rows"] if row["method"] == "bicubic")
    assert row["mae"] == pytest.approx(abs(error)[sea].mean(), rel=1e-4)
    train_here(tmp_path / "c", [*run, "data.mask=true"])


def test_a_file_beyond_memory_gives_the_same_frames_and_scores(tmp_path: Path) -> None:
    write(tmp_path / "a.h5", "h5", flow(40))
    options = {"path": str(tmp_path / "a.h5"), "axes": "tyx", **COMMON}
    inside, outside = ClimateDataModule(**options), ClimateDataModule(memory=0.01, **options)
    inside.setup()
    outside.setup()
    assert isinstance(inside.sets["train"], MemoryFrames)
    assert isinstance(outside.sets["train"], LazyFrames)
    assert inside.card == outside.card
    for name in inside.sets:
        pairs = list(outside.sets[name].pairs())
        torch.testing.assert_close(torch.cat([pair.lr for pair in pairs]), inside.sets[name].pair.lr)
        torch.testing.assert_close(torch.cat([pair.hr for pair in pairs]), inside.sets[name].pair.hr)
    run = [*QUICK, f"data.path={tmp_path}/a.h5", "data.axes=tyx", "model=linear"]
    a, b = (train_here(tmp_path / str(m), [*run, f"data.memory={m}"])["rows"] for m in (0.01, 100))
    for row, other in zip(a, b, strict=True):
        assert row["psnr"] == pytest.approx(other["psnr"], abs=1e-3)
    train_here(tmp_path / "net", [*run, "model=fsrcnn", "data.memory=0.01"])


def test_codecs_need_whole_clips(tmp_path: Path) -> None:
    from vsr.degradations import H264

    write(tmp_path / "a.h5", "h5", flow(40))
    codec = Chain(steps={"bicubic": Bicubic(), "h264": H264()})
    options = {**COMMON, "degradation": codec, "path": str(tmp_path / "a.h5"), "axes": "tyx"}
    with pytest.raises(UserError, match=r"bicubic\+h264\(23\) needs whole clips in memory"):
        ClimateDataModule(memory=0.01, **options).setup()


def test_bounds_that_the_frames_do_not_fill_are_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    np.save(tmp_path / "a.npy", flow())  # about -1.8 to 9.8
    for bounds, message in {
        (0, 1e4): r"data.bounds=\[0,10000\]: the training frames, -\d.* fill 0.\d+ % of it",
        (100, 200): "lie outside of it",
        (5, 5): "the smaller first",
    }.items():
        with pytest.raises(UserError, match=message):
            ClimateDataModule(path=str(tmp_path / "a.npy"), axes="tyx", bounds=bounds, **COMMON).setup()
    with caplog.at_level("WARNING"):
        ClimateDataModule(path=str(tmp_path / "a.npy"), axes="tyx", bounds=(0, 5), **COMMON).setup()
    assert "leave data.bounds=[0,5]" in caplog.text
    caplog.clear()
    ClimateDataModule(path=str(tmp_path / "a.npy"), axes="tyx", bounds=(-10, 20), **COMMON).setup()
    assert "bounds" not in caplog.text


def test_scores_of_latitudes_and_longitudes_are_in_km(tmp_path: Path) -> None:
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    lat, lon = ("lat", np.linspace(60, 48.5, 24), {"units": "degrees_north"}), ("lon", np.arange(32.0), {"units": "degrees_east"})
    field = xarray.DataArray(flow(), {"lat": lat, "lon": lon}, ("time", "lat", "lon"), name="H")
    field.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    run = train_here(tmp_path / "run", [*QUICK, f"data.path={tmp_path}/a.nc", "model=bicubic"])
    again = evaluate_here(tmp_path / "again", [f"checkpoint={tmp_path}/run/checkpoints/best.ckpt", "report=false"])
    assert_same_scores(again["rows"], run["rows"])
    content = json.loads((tmp_path / "again" / "results.json").read_text())
    data = ClimateDataModule(path=f"{tmp_path}/a.nc", **COMMON)
    data.setup()
    [clip] = data.test_dataloader()[0]
    assert clip.mask is not None
    np.testing.assert_allclose(clip.mask[0, 0, 0, :, 5], np.cos(np.radians(lat[1])), rtol=1e-6)
    assert data.sets["test"].pair.mask is None  # the loss of training knows no weights
    error = (resize_bicubic_up(clip.lr[0, :, :].transpose(0, 1), 2) - clip.hr[0].transpose(0, 1))[:, 0, 4:-4, 4:-4].double()
    area = np.cos(np.radians(lat[1]))[4:-4, None] * np.ones(24)
    mae = np.average(abs(error.numpy()), weights=np.broadcast_to(area, error.shape)) / np.ptp(run["protocol"]["data"]["bounds"])
    assert next(row["mae"] for row in run["rows"] if row["method"] == "bicubic") == pytest.approx(mae, rel=1e-5)
    assert content["protocol"]["pixels"] == run["protocol"]["pixels"]
    assert content["protocol"]["pixels"].startswith("55.597 km along y, 64.847 km along x (mean")
    assert "weighted by cos(latitude)" in content["protocol"]["pixels"]
    assert content["definitions"]["resolution"]["unit"] == "km"
    assert "| effective resolution (km) |" in (tmp_path / "again" / "table.md").read_text()
    [spectrum] = [c for c in content["curves"] if (c["curve"], c["method"]) == ("spectrum", "bicubic")]
    sides = 55.597 * 16, 111.195 * np.cos(np.radians(lat[1][4:-4])).mean() * 24  # inside the window
    assert spectrum["columns"]["wavenumber"][0] == pytest.approx(1 / min(sides), rel=1e-3)


def earth(path: Path, land: np.ndarray | None = None, columns: int = 48) -> Any:
    """Write a global temperature, humidity and wind with rows at the poles, an odd number, and return them as a data set."""
    xr = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    rng = np.random.default_rng(0)
    coords = {
        "lat": ("lat", np.linspace(90, -90, 25), {"units": "degrees_north"}),
        "lon": ("lon", np.arange(columns) * 360 / columns, {"units": "degrees_east"}),
    }
    waves = rng.standard_normal((12, 25, columns)).cumsum(1).cumsum(2)
    made = {"t": 280 + waves, "q": 0.005 * np.exp(waves / 30), "u": waves, "v": -2 * waves}
    units = {"t": "K", "q": "kg kg-1", "u": "m s-1", "v": "m s-1"}
    dims = ("time", "lat", "lon")
    file = xr.Dataset({name: (dims, values.astype("f4"), {"units": units[name]}) for name, values in made.items()}, coords)
    if land is not None:
        file = file.where(~xr.DataArray(land, dims=dims[1:]))
    file["flag"] = dims, np.ones(file.t.shape, np.int8)
    file.to_netcdf(path, engine="h5netcdf")
    return file


def test_a_global_file_of_several_variables_needs_no_key(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    land = np.zeros((25, 48), bool)
    land[3:9, 10:20] = True
    file = earth(tmp_path / "era5.nc", land)
    quick = [*QUICK, f"data.path={tmp_path}/era5.nc", "model=fsrcnn_s"]
    with caplog.at_level("INFO"):
        trained = train_here(tmp_path / "run", quick)
    notes = [record.message for record in caplog.records if "era5.nc: takes" in record.message]
    assert notes == [
        "note      era5.nc: takes t, q, u, v, without flag (data.variable=[...] for others), each in the range of its training "
        "frames; u,v turn as vectors (data.vectors=[] if not); frames of 25x48 are cut to 24x48 for scale=2; longitudes go round "
        "the globe (data.periodic=none if not); 5 % of the pixels are NaN in every frame and do not count"
    ]
    facts = trained["protocol"]["data"]
    assert (facts["variables"], facts["border"], facts["vectors"], facts["size"]) == (
        ["t", "q", "u", "v"],
        "x",
        [[2, 3]],
        [24, 48],
    )
    first = file.t.values[: facts["frames"]["train"]]
    assert facts["bounds"][0] == [np.nanmin(first), np.nanmax(first)]

    # The same keys, typed.
    keys = ["data.variable=[t,q,u,v]", "data.vectors=[[u,v]]", "data.crop=true", "data.mask=true", "data.periodic=x"]
    typed = train_here(tmp_path / "typed", [*quick, *keys])
    assert [row["mse"] for row in typed["rows"]] == [row["mse"] for row in trained["rows"]]
    again = evaluate_here(tmp_path / "again", [f"checkpoint={tmp_path}/run/checkpoints/best.ckpt"])
    assert_same_scores(again["rows"], trained["rows"])
    train_here(tmp_path / "one", [*quick[:-1], "data.variable=t", "model=bicubic"])
    other = [f"checkpoint={tmp_path}/one/checkpoints/best.ckpt", "data=climate", f"data.path={tmp_path}/era5.nc"]
    with pytest.raises(UserError, match="has 4 channels, .* was trained on 1; type data.variable=t, or another one"):
        evaluate_here(tmp_path / "t", other)


def test_what_is_chosen_is_refused_where_it_cannot_be_right(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = earth(tmp_path / "era5.nc", columns=50)
    run = {"path": str(tmp_path / "era5.nc"), "scale": 4, "degradation": Bicubic(), "recipe": Recipe(patch=4)}
    with caplog.at_level("INFO"):
        ClimateDataModule(**run).setup()
    assert (
        "25x50 are cut to 24x48 for scale=4; longitudes go round the globe, but scale=4 cuts columns: frames are" in caplog.text
    )
    with pytest.raises(UserError, match="25x50 are not divisible by scale=4; type data.crop=true to cut them to 24x48"):
        ClimateDataModule(crop=False, **run).setup()
    for at, value in (((3, 4, 5), np.nan), ((9, 0, 0), np.nan), ((slice(None), 2, 2), np.inf)):
        broken = file.copy(deep=True)
        broken.t.values[at] = value
        broken.to_netcdf(tmp_path / "broken.nc", engine="h5netcdf")
        with pytest.raises(UserError, match=r"hold NaN or infinite values, the first is frame \d, not at the same pixels in all"):
            ClimateDataModule(**{**run, "path": str(tmp_path / "broken.nc")}).setup()


@pytest.mark.parametrize(("apart", "told"), [(1e-3, True), (1.0, False)])
def test_members_of_one_forecast_are_told_to_be_an_easy_test(
    apart: float, told: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    common = np.random.default_rng(0).random((6, 24, 32))
    members = np.stack([(1 - apart) * common + apart * flow(6, seed=k) for k in range(8)])
    np.save(tmp_path / "members.npy", members.astype(np.float32))
    with caplog.at_level("WARNING"):
        ClimateDataModule(path=str(tmp_path / "members.npy"), axes="ntyx", **COMMON).setup()
    warnings = [record.message for record in caplog.records if "than from their own bicubic frame" in record.message]
    assert len(warnings) == told
    if told:
        assert "members.npy: the split 'test': " in warnings[0]
        assert "(frame 0 of " in warnings[0]


def test_walls_are_refused_where_there_can_be_none(tmp_path: Path) -> None:
    earth(tmp_path / "era5.nc").isel(lat=slice(1, None)).to_netcdf(tmp_path / "even.nc", engine="h5netcdf")
    run = {"path": str(tmp_path / "era5.nc"), "walls": True, **COMMON}
    with pytest.raises(UserError, match=r"era5.nc:.*: data.walls=true: frames of 25x48 are cut to 24x48 for scale=2, with"):
        ClimateDataModule(**run).setup()
    with pytest.raises(UserError, match=r"walls=true: its frames go on beyond their borders \(data.periodic=x\); leave"):
        ClimateDataModule(**{**run, "path": str(tmp_path / "even.nc")}).setup()
    with pytest.raises(UserError, match=r"data.walls=true: is for velocities, .* type data.vectors=\[\[u,v\]\]"):
        ClimateDataModule(**run, variable=["t", "q"])
    with pytest.raises(UserError, match="data.walls=true: is for a file; simulated flows go on at the opposite border"):
        ClimateDataModule(walls=True, **COMMON)
