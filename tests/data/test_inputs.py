"""Inputs that are not outputs: static fields on the HR grid, variables that only LR has, hours, days and places."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray

import vsr
from tests.fakes import TINY_CLIMATE, compose_config, evaluate_here, train_here, upscale_here
from vsr.config.check import check_config
from vsr.config.input_files import check_data_files
from vsr.data.loaders import PatchLoader
from vsr.errors import UserError
from vsr.io import static_fields
from vsr.training.build import build_data, build_module

SCALE, FRAMES, ROWS, COLUMNS = 2, 10, 24, 32
QUICK = [
    *("data=climate", f"scale={SCALE}", "epochs=1", "recipe.steps=2", "recipe.patch=8", "window=[0,2,2]", "data.variable=t"),
    *("degradation=area", "model=resnet", "model.width=4", "model.blocks=1"),
]


def earth(folder: Path, rows: slice = slice(None), name: str = "hr.nc") -> list[str]:
    """Write hourly fields on latitudes and longitudes, and an orography that is larger, upside down and 0..360."""
    rng = np.random.default_rng(0)
    lat, lon = 40 + np.arange(ROWS) / 4, -4 + np.arange(COLUMNS) / 4
    height = 1000 + 100 * rng.standard_normal((ROWS + 8, COLUMNS + 8))
    t = rng.standard_normal((FRAMES, ROWS, COLUMNS)) - height[4:-4, 4:-4] / 100
    data = xarray.Dataset(
        {
            "t": (("time", "lat", "lon"), t.astype(np.float32)),
            "tau": (("time", "lat", "lon"), (500 + 9 * t**2).astype(np.float32)),
        },
        {
            "time": ("time", np.arange(FRAMES) * 6.0, {"units": "hours since 2001-03-01 03:00", "calendar": "noleap"}),
            "lat": ("lat", lat, {"units": "degrees_north"}),
            "lon": ("lon", lon, {"units": "degrees_east"}),
        },
    ).isel(lat=rows)
    save(data, folder / name)
    wide_lat, wide_lon = 39 + np.arange(ROWS + 8) / 4, (-5 + np.arange(COLUMNS + 8) / 4) % 360
    z = xarray.DataArray(height[None], dims=("time", "lat", "lon"), coords={"lat": wide_lat, "lon": wide_lon}, name="z")
    z.lon.attrs["units"] = "degrees_east"
    save(z.isel(lat=slice(None, None, -1)), folder / "z.nc")
    return [f"data.path={folder}/{name}", f"data.static=[{folder}/z.nc:z]"]


def save(data: Any, path: Path) -> None:
    """Write a file in the place of one that may be open."""
    path.unlink(missing_ok=True)
    data.to_netcdf(path, engine="h5netcdf")


def height_of(folder: Path) -> np.ndarray:
    with xarray.open_dataset(folder / "z.nc") as file:
        return file.z.values[0][::-1][4:-4, 4:-4]


def built(overrides: list[str], quick: list[str] = QUICK) -> Any:
    cfg = compose_config("train", [*quick, *overrides])
    check_config(cfg)
    check_data_files(cfg)
    data = build_data(cfg)
    build_module(cfg, data.card, data.test_splits)
    return data


def coarse(path: Path, target: Path) -> np.ndarray:
    """Write block means of a file and return those of t."""
    with xarray.open_dataset(path, decode_times=False) as hr:
        lr = hr.coarsen(lat=SCALE, lon=SCALE).mean(keep_attrs=True)
        lr.astype(np.float32).assign_coords({name: lr[name] for name in lr.coords}).to_netcdf(target, engine="h5netcdf")
        return lr.t.values


def test_what_networks_see_beside_the_variables(tmp_path: Path) -> None:
    words = "data.inputs=[position,hour,day_of_year,latitude,longitude]"
    files = [*earth(tmp_path), words, "data.lr_variable=[tau]"]
    data = built(files)
    clip = data.sets["test"].clip(0, 3, 0, "replicate")
    lr = clip.lr[0].double()
    first = FRAMES - 3  # frames 7 to 9 are tested on
    with xarray.open_dataset(tmp_path / "hr.nc", decode_times=False) as hr:
        tau, lat, lon = hr.tau.values, hr.lat.values, hr.lon.values
    low, high = tau[:6].min(), tau[:6].max()
    means = tau.reshape(FRAMES, ROWS // 2, 2, COLUMNS // 2, 2).mean((2, 4))
    np.testing.assert_allclose(lr[1], (means[first:] - low) / (high - low), atol=1e-5)
    np.testing.assert_allclose(lr[2, 0, :, 0], np.linspace(-1, 1, ROWS // 2), atol=1e-6)
    hours = 3 + 6 * np.arange(first, FRAMES)
    np.testing.assert_allclose(lr[4:6, :, 0, 0], [f(2 * np.pi * hours / 24) for f in (np.sin, np.cos)], atol=1e-6)
    days = 59 + hours / 24  # January and February of a year without a leap day
    np.testing.assert_allclose(lr[6:8, :, 5, 5], [f(2 * np.pi * days / 365) for f in (np.sin, np.cos)], atol=1e-6)
    np.testing.assert_allclose(lr[8, 1, :, 3], lat.reshape(-1, 2).mean(1) / 90, atol=1e-6)
    place = np.radians(lon.reshape(-1, 2).mean(1))
    np.testing.assert_allclose(lr[9:11, 0, 4], [np.sin(place), np.cos(place)], atol=1e-6)
    z = height_of(tmp_path)
    for plane in range(4):  # space to depth
        own = z[plane // 2 :: 2, plane % 2 :: 2]
        np.testing.assert_allclose(lr[11 + plane, 2], (own - z.mean()) / z.std(), rtol=1e-3, atol=1e-4)
    assert lr.shape[0] == 15
    lazy = built([*files, "data.memory=0.001"])
    torch.testing.assert_close(lazy.sets["test"].read(0, 3).lr, data.sets["test"].read(0, 3).lr)


def test_symmetries_turn_static_fields_as_they_lie_at_hr() -> None:
    cfg = compose_config("train", [*TINY_CLIMATE, "scale=2", "data.static=bed", "model=resnet", "recipe.patch=8"])
    data = build_data(cfg)
    frames = data.sets["train"]
    # The same symmetries of the field itself as HR: what is learned and what is seen turn alike.
    frames.pair.hr[:] = torch.nn.functional.pixel_shuffle(frames.pair.lr[:, 1:], 2)
    loader = PatchLoader(
        frames, patch=8, batch=4, steps=12, static=4, symmetries=("flip_y", "flip_x", "transpose", "quarter_turn")
    )
    for clip in loader:
        torch.testing.assert_close(torch.nn.functional.pixel_shuffle(clip.lr[:, 1:, 0], 2), clip.hr[:, :, 0])
    beds = {movie.static.numpy().tobytes() for movie in data.movies()}
    assert len(beds) == len(data.movies())  # each movie has its own


@pytest.mark.parametrize("kept", [True, False])
def test_static_fields_from_training_to_results(kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(static_fields, "KEPT_BYTES", static_fields.KEPT_BYTES if kept else 100)
    more = ["data.lr_variable=[tau]", "data.inputs=[hour,latitude]"]
    files = earth(tmp_path)
    results = train_here(tmp_path / "run", [*QUICK, *files, *more])
    checkpoint = tmp_path / "run" / "checkpoints" / "best.ckpt"
    (field,) = torch.load(checkpoint, weights_only=True)["vsr"]["static"]
    assert (field["values"] is not None) == kept
    if kept:
        np.testing.assert_allclose(field["values"], height_of(tmp_path), rtol=1e-6)
    row = json.loads((tmp_path / "run" / "results.json").read_text())["rows"][-1]
    found = evaluate_here(tmp_path / "scores", [f"checkpoint={checkpoint}"])["rows"]
    assert found[-1]["mse"] == pytest.approx(row["mse"], rel=1e-5)
    coarse(tmp_path / "hr.nc", tmp_path / "lr.nc")
    typed = [f"checkpoint={checkpoint}", f"input={tmp_path}/lr.nc", "variable=t", f"output={tmp_path}/sr.nc"]
    own = f"static=[{tmp_path}/z.nc:z]"
    if not kept:
        with pytest.raises(UserError, match=r"data.static \(z\), which are too large to be kept in it; type static=\[FILE:z\]"):
            upscale_here(typed)
        typed.append(own)
    with xarray.open_dataset(upscale_here(typed), decode_times=False) as made, xarray.open_dataset(tmp_path / "hr.nc") as hr:
        sr, truth = made.t.values, hr.t.values[7:]
    low, high = results["protocol"]["data"]["bounds"]
    cut = np.s_[:, 2:-2, 2:-2]
    areas = np.cos(np.radians(40 + np.arange(ROWS) / 4))[2:-2]  # of the pixels of each row
    error = (((sr[7:] - truth)[cut] / (high - low)) ** 2).mean((0, 2))
    assert np.average(error, weights=areas) == pytest.approx(row["mse"], rel=1e-4)
    with xarray.open_dataset(tmp_path / "z.nc") as z:
        (z * 2).to_netcdf(tmp_path / "other.nc", engine="h5netcdf")
    with pytest.raises(UserError, match=r"other.nc:z: has other values .* with which .*best.ckpt was trained"):
        upscale_here([*typed[:4], f"static={tmp_path}/other.nc"])
    with pytest.raises(UserError, match=r"other.nc:z: has other values"):
        evaluate_here(
            tmp_path / "wrong",
            [f"checkpoint={checkpoint}", "data=climate", files[0], "data.variable=t", f"data.static={tmp_path}/other.nc", *more],
        )


def test_lazy_results_of_other_static_fields_are_other_arrays(tmp_path: Path) -> None:
    dask = pytest.importorskip("dask")
    train_here(tmp_path / "run", [*TINY_CLIMATE, "scale=2", "data.static=bed", *QUICK[2:4], *QUICK[-3:], "recipe.patch=8"])
    movie, found = xarray.DataArray(np.ones((4, 12, 12)), dims=("time", "y", "x")).chunk(time=2), []
    for number in range(2):
        hills = xarray.Dataset({"bed": (("y", "x"), number * np.random.default_rng(0).random((24, 24)))})
        hills.to_netcdf(tmp_path / f"{number}.nc", engine="h5netcdf")
        best, static = tmp_path / "run" / "checkpoints" / "best.ckpt", [f"{tmp_path}/{number}.nc:bed"]
        found.append(vsr.load(best, static=static).upscale(movie))
    flat, hilly = (each.values for each in found)
    np.testing.assert_array_equal(dask.compute(*(each.data for each in found)), [flat, hilly])  # in one graph
    assert np.abs(flat - hilly).max() > 1e-6


def test_upscaling_from_python_and_of_other_regions(tmp_path: Path) -> None:
    train_here(tmp_path / "run", [*QUICK, *earth(tmp_path, slice(16), "north.nc")])
    checkpoint = tmp_path / "run" / "checkpoints" / "best.ckpt"
    lr = coarse(tmp_path / "north.nc", tmp_path / "lr.nc")
    network = vsr.load(checkpoint)
    with xarray.open_dataset(tmp_path / "lr.nc") as file:
        labelled = network.upscale(file.t)
        np.testing.assert_allclose(network.upscale(lr), labelled.values, rtol=1e-5, atol=1e-4)
        part = network.upscale(file.t.isel(lat=slice(2, 8)))  # a part of the region: the stored field is cut
        np.testing.assert_allclose(part.values[:, 10:], labelled.values[:, 14:], rtol=1e-5, atol=1e-3)
    with pytest.raises(UserError, match=r"has 16 rows, a movie of 4x16 has 8, .*type static=\[FILE:z\] with fields of 8x32"):
        network.upscale(lr[:, :4])
    earth(tmp_path)
    whole = coarse(tmp_path / "hr.nc", tmp_path / "whole.nc")
    typed = [f"checkpoint={checkpoint}", f"input={tmp_path}/whole.nc", "variable=t", f"output={tmp_path}/sr.nc"]
    with pytest.raises(UserError, match=r"does not reach y = .*type static=\[FILE:z\] with fields of 24x32 on the grid of SR"):
        upscale_here(typed)
    with xarray.open_dataset(upscale_here([*typed, f"static={tmp_path}/z.nc"])) as made:
        assert made.t.shape == (FRAMES, ROWS, COLUMNS)
        np.testing.assert_allclose(made.t.values[:, :6], labelled.values[:, :6], rtol=1e-5, atol=1e-3)
    np.save(tmp_path / "z24.npy", height_of(tmp_path))
    np.testing.assert_allclose(
        vsr.load(checkpoint, static=f"{tmp_path}/z24.npy").upscale(whole), xarray.open_dataset(tmp_path / "sr.nc").t, rtol=1e-3
    )


def test_beds_of_simulated_flows(tmp_path: Path) -> None:
    typed = [*TINY_CLIMATE, "scale=2", "data.static=bed", "recipe.patch=8", "recipe.steps=2", "model=resnet", "model.width=4"]
    train_here(tmp_path / "run", [*typed, "window=[0,2,2]"])
    checkpoint = tmp_path / "run" / "checkpoints" / "best.ckpt"
    row = json.loads((tmp_path / "run" / "results.json").read_text())["rows"][-1]
    found = evaluate_here(tmp_path / "scores", [f"checkpoint={checkpoint}"])["rows"]
    assert found[-1]["mse"] == pytest.approx(row["mse"], rel=1e-5)
    np.save(tmp_path / "bed.npy", np.random.default_rng(0).random((24, 24)))
    lr = np.zeros((3, 12, 12), np.float32)
    assert vsr.load(checkpoint, static=[f"{tmp_path}/bed.npy"]).upscale(lr).shape == (3, 24, 24)
    with pytest.raises(UserError, match=r"data.static \(bed\), which were others for each .* type static=\[FILE:bed\] .* 24x24"):
        vsr.load(checkpoint).upscale(lr)


def test_other_data_are_scored_with_the_fields_of_the_checkpoint_or_with_others(tmp_path: Path) -> None:
    train_here(tmp_path / "run", [*QUICK, *earth(tmp_path)])
    checkpoint = tmp_path / "run" / "checkpoints" / "best.ckpt"
    part, typed = (
        earth(tmp_path, rows=slice(2, 22), name="part.nc"),
        [f"checkpoint={checkpoint}", "data=climate", "data.variable=t"],
    )
    given = {"kept": [], "data": [part[1]], "typed": [f"static=[{tmp_path}/z.nc:z]"]}
    mse = [evaluate_here(tmp_path / name, [*typed, part[0], *keys])["rows"][-1]["mse"] for name, keys in given.items()]
    assert mse[0] == mse[1] == mse[2]

    with xarray.open_dataset(tmp_path / "part.nc", decode_times=False) as file:
        save(file.load().assign_coords(lat=file.lat + 20), tmp_path / "north.nc")
    with xarray.open_dataset(tmp_path / "z.nc") as file:
        save(file.load().assign_coords(lat=file.lat + 20).rename(z="height"), tmp_path / "height.nc")
    north = [*typed, f"data.path={tmp_path}/north.nc"]
    with pytest.raises(
        UserError, match=r"the static fields in .*best.ckpt: does not reach y = .*; type static=\[FILE:z\] on the"
    ):
        evaluate_here(tmp_path / "none", north)
    found = evaluate_here(tmp_path / "north", [*north, f"static={tmp_path}/height.nc"])["rows"][-1]
    assert found["mse"] == pytest.approx(mse[0], rel=0.01)  # rows have other areas

    (tmp_path / "z.nc").rename(tmp_path / "moved.nc")
    own = evaluate_here(tmp_path / "own", [f"checkpoint={checkpoint}", f"static=[{tmp_path}/moved.nc:z]"])["rows"]
    assert own[-1]["method"] == "resnet"
    with pytest.raises(UserError, match=r"static=\[moved.nc\]: a.ckpt was trained without static fields; leave it out"):
        static_fields.open_fields_of_network(["moved.nc"], (), Path("a.ckpt"))
    with pytest.raises(UserError, match=r"static=\[z\]: a.ckpt was trained with z, lsm; give fields of these names"):
        static_fields.open_fields_of_network([f"{tmp_path}/moved.nc:z"], ("z", "lsm"), Path("a.ckpt"))


def changed(change: Any) -> Any:
    """Rewrite the orography."""

    def apply(folder: Path) -> None:
        with xarray.open_dataset(folder / "z.nc") as file:
            held = file.load()
        save(change(held), folder / "z.nc")

    return apply


def without(name: str) -> Any:
    """Take a coordinate from the movie."""

    def apply(folder: Path) -> None:
        with xarray.open_dataset(folder / "hr.nc", decode_times=False) as file:
            held = file.load()
        save(held.drop_vars(name), folder / "hr.nc")

    return apply


@pytest.mark.parametrize(
    ("change", "more", "message"),
    [
        (changed(lambda z: z.isel(lat=slice(9, None))), [], r"z.nc:z: does not reach y = 45.75, where .*hr.nc:t has one"),
        (changed(lambda z: z.assign_coords(lat=z.lat + 0.1)), [], r"z.nc:z: has no pixel at y = "),
        (changed(lambda z: z.where(z.lat < 44)), [], r"z.nc:z: holds NaN or infinite values .*row 16, column 0; fill"),
        (changed(lambda z: z.drop_vars("lat")), [], r"z.nc:z: has 32 rows, .*hr.nc:t has 24, and .*no coordinate of y"),
        (changed(lambda z: z.isel(time=[0, 0])), [], r"z is 2x32x40; a static field has rows and columns"),
        (changed(lambda z: 0 * z + 3), [], r"data.static: every value of z is 3; no network learns from it"),
        (changed(lambda z: z.rename(z="h")), [], r"data.static=.*z.nc:z: there is no such array"),
        (lambda folder: (folder / "z.nc").unlink(), [], r"data.static=.*z.nc: no such file"),
        (None, ["model=joint"], r"model: Cascade does not take data.static=\[z\]"),
        (None, ["model=fsrcnn"], r"model: FSRCNN does not take data.static=\[z\]"),
        (None, ["data.lr_variable=[t,tau]"], r"data.lr_variable=\[t,tau\]: t is also learned"),
        (None, ["data.lr_variable=[wind]"], r"data.lr_variable=wind: there is no such array"),
        (without("time"), ["data.inputs=[hour]"], r"hr.nc:t: data.inputs=\[hour\]: the file has no times, not dates"),
        (without("lat"), ["data.inputs=[latitude]", "data.static=[]"], r"the file has no latitudes in degrees along rows"),
        (None, ["data.symmetries=[flip_x]", "data.inputs=[longitude]"], r"a mirrored frame lies at another place"),
        (None, ["data.path=null", "data.static=[hill]"], r"data.static=\[hill\]: simulated flows have a bed"),
        (None, ["data.path=null", "data.static=[]", "data.inputs=[hour]"], r"simulated flows have no dates"),
    ],
)
def test_what_cannot_be_an_input_is_refused_in_one_line(change: Any, more: list[str], message: str, tmp_path: Path) -> None:
    files = earth(tmp_path)
    if change is not None:
        change(tmp_path)
    given = [key for key in QUICK if not (key.startswith("model") and any(x.startswith("model=") for x in more))]
    with pytest.raises(UserError, match=message) as caught:
        built([*files, *more], given)
    assert "\n" not in str(caught.value)
