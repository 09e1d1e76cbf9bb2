"""Pairs of a coarse and a fine simulation: matching, alignment, planes of time and position, training, scores, upscaling."""

from __future__ import annotations

import csv
import json
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray
from omegaconf import OmegaConf

import vsr
from tests.fakes import ROOT, assert_same_scores, compose_config, evaluate_here, train_here, upscale_here
from tests.processes import run_process
from vsr.__main__ import main
from vsr.config.check import check_config
from vsr.data.datamodules.pairs import PairsDataModule
from vsr.errors import UserError
from vsr.inference.inputs import check_upscale_files
from vsr.training.build import build_baseline_modules, build_data, build_module

SIZE, FRAMES = 16, 6  # LR pixels per side; frames per trajectory
QUICK = ["data=pairs", "scale=2", "epochs=1", "recipe.steps=2", "recipe.patch=8", "window=[0,2,2]"]
# Coordinates of n LR pixels and of scale * n HR pixels of the same unit length.
GRIDS = {
    "cell": (lambda n: (np.arange(n) + 0.5) / n, lambda n, s: (np.arange(n * s) + 0.5) / (n * s)),
    "node": (lambda n: np.linspace(0, 1, n), lambda n, s: np.linspace(0, 1, n * s)),
    "staggered": (lambda n: np.arange(n) / n, lambda n, s: (np.arange(n * s) + 0.5) / (n * s)),
}


def waves(y: np.ndarray, x: np.ndarray, which: int, t: np.ndarray) -> np.ndarray:
    """Return smooth fields (T, H, W) that a coarse and a fine grid see alike."""
    t, y, x = t[:, None, None], y[None, :, None], x[None, None, :]
    return np.sin(5 * y + which + 0.4 * t) + np.cos(4 * x - 0.3 * t) + 0.2 * t * y


def ramp(y: np.ndarray, x: np.ndarray, which: int, t: np.ndarray) -> np.ndarray:
    return np.broadcast_to(
        (2 * y[:, None] - 3 * x + 0.1 * which)[None] + 0.01 * t[:, None, None], (len(t), len(y), len(x))
    ).copy()


def write_pair(
    folder: Path,
    *,
    kind: str = "node",
    field: Any = waves,
    scale: int = 2,
    count: int = 4,
    down: str = "",
    coordinates: bool = True,
    names: tuple[str, ...] = ("h",),
    gain: float = 1.0,
) -> list[str]:
    """Write lr.nc and hr.nc and return the overrides that name them; `down` lists grids ("lr", "hr") with falling rows."""
    for side in ("lr", "hr"):
        n, s = SIZE, scale
        axis = GRIDS[kind][0](n) if side == "lr" else GRIDS[kind][1](n, s)
        rows = axis[::-1] if side in down else axis
        t = np.arange(FRAMES, dtype=float)
        values = np.stack([field(rows, axis, which, t) for which in range(count)])
        values = values * (gain if side == "lr" else 1.0)
        data = {name: (("run", "time", "y", "x"), (100.0**i * values + i).astype(np.float32)) for i, name in enumerate(names)}
        coords: dict[str, Any] = {"run": 100 + np.arange(count), "time": ("time", 3600 * t + 50.0, {"units": "s"})}
        if coordinates:
            coords |= {"y": ("y", rows, {"units": "m"}), "x": ("x", axis, {"units": "m"})}
        xarray.Dataset(data, coords).to_netcdf(folder / f"{side}.new")
        (folder / f"{side}.new").replace(folder / f"{side}.nc")
    return [f"data.lr={folder}/lr.nc", f"data.hr={folder}/hr.nc", f"scale={scale}"]


def rewrite(path: Path, change: Any) -> None:
    with xarray.open_dataset(path, decode_times=False) as dataset:
        change(dataset.load()).to_netcdf(path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)  # the reader may hold the old file open


def built(overrides: list[str]) -> tuple[PairsDataModule, Any, Any]:
    cfg = compose_config("train", [*QUICK, "model=resnet", "trainer.accelerator=cpu", *overrides])
    check_config(cfg)
    data = build_data(cfg)
    assert isinstance(data, PairsDataModule)
    return data, build_module(cfg, data.card, data.test_splits), cfg


@pytest.mark.parametrize("down", ["", "lr", "hr", "lr hr"])
@pytest.mark.parametrize("kind", GRIDS)
@pytest.mark.sampled(3)
def test_ramps_are_interpolated_exactly_where_the_grids_lie(kind: str, down: str, tmp_path: Path) -> None:
    scale = 2 if down else 4
    data, module, _ = built(write_pair(tmp_path, kind=kind, field=ramp, scale=scale, down=down))
    middle = (scale - 1) / 2
    origin = {"cell": middle, "node": "node", "staggered": -0.5}[kind]
    if kind == "staggered" and "lr" in down:  # counted from the other side
        origin = scale - 0.5
    assert data.grid.alignment[1] == (-0.5 if kind == "staggered" else origin)
    assert data.grid.alignment[0] == origin
    assert data.grid.reversed == (("y",) if down in ("lr", "hr") else ())
    module.prepare(data.training_frames())
    torch.nn.init.zeros_(module.network.network.layers.out[0].weight)  # what is left is the skip
    torch.nn.init.zeros_(module.network.network.layers.out[0].bias)
    clip = data.sets["test"].clip(0, 3, 0, "replicate")
    truth = module.normalizer(clip.hr)
    inner = (..., slice(3 * scale, -3 * scale), slice(3 * scale, -3 * scale))
    methods = {**build_baseline_modules(module, 1), "skip": module}
    errors = {name: float((one.predict_clip(clip) - truth)[inner].detach().abs().max()) for name, one in methods.items()}
    step = float((truth[..., 1:, 1:] - truth[..., :-1, :-1]).abs().max() + (truth[..., 1:] - truth[..., :-1]).abs().max())
    assert errors.pop("nearest") <= scale * step
    assert max(errors.values()) < 1e-5, errors


def test_patches_see_their_own_place_and_time(tmp_path: Path) -> None:
    data, _, cfg = built([*write_pair(tmp_path, field=ramp), "data.inputs=[position,time]"])
    train = data.sets["train"]
    data.configure_loaders(data.recipe, context=0, margin=0, trim=0)
    clip = next(iter(data.train_dataloader()))
    assert clip.lr.shape[1:3] == (1 + 3 + 4, 1)
    field, time, y, x, skip = clip.lr[:, 0, 0], clip.lr[:, 1, 0], clip.lr[:, 2, 0], clip.lr[:, 3, 0], clip.lr[:, 4:, 0]
    which = clip.position // FRAMES
    frame = clip.position % FRAMES
    assert torch.equal(time, (frame / (FRAMES - 1)).float()[:, None, None].expand_as(time))
    expected = 2 * (y + 1) / 2 - 3 * (x + 1) / 2 + (0.1 * which + 0.01 * frame)[:, None, None]
    torch.testing.assert_close(field, expected.float(), atol=1e-5, rtol=0)
    low, high = data.frame_bounds
    upscaled = torch.nn.functional.pixel_shuffle(skip, 2) * (high - low) + low
    torch.testing.assert_close(upscaled, clip.hr[:, 0], atol=1e-5, rtol=0)
    assert len(train) == 2 * FRAMES
    assert cfg.degradation._target_ == "vsr.degradations.scaling.Paired"


@pytest.mark.parametrize(
    ("model", "more"),
    [
        ("stacked", ["model.width=8", "model.blocks=1"]),
        ("resnet", ["model.width=8", "model.blocks=1"]),
        ("plain", ["model.width=8"]),
        ("unet", ["model.width=4"]),
        ("edsr", ["model.width=8", "model.blocks=1"]),
        ("srnet3d", []),
    ],
)
@pytest.mark.parametrize("kind", ["node", "cell"])
@pytest.mark.sampled(3)
def test_networks_train_on_pairs_and_evaluate_repeats_their_scores(
    model: str, more: list[str], kind: str, tmp_path: Path
) -> None:
    files = write_pair(tmp_path, kind=kind, gain=0.9)
    results = train_here(tmp_path / "run", [*QUICK, *files, f"model={model}", *more, "data.inputs=[time,position]"])
    rows = {row["method"]: row for row in results["rows"]}
    assert list(rows) == ["nearest", "bilinear", "bicubic", "linear", model]
    assert rows["linear"]["mse"] < 0.1 * rows["bicubic"]["mse"] < 0.1 * rows["nearest"]["mse"]
    assert results["protocol"]["degradation"] == "pairs"
    found = evaluate_here(tmp_path / "scores", [f"checkpoint={tmp_path}/run/checkpoints/best.ckpt"])["rows"]
    assert_same_scores(found, results["rows"])
    assert "consistency" not in found[0]
    content = json.loads((tmp_path / "scores" / "results.json").read_text())
    said = {one["method"]: one for one in content["lead_time"]}
    assert list(said) == list(rows)
    assert {(one["time_unit"], one["first"], one["last"]) for one in said.values()} == {("s", 0.0, 3600.0 * (FRAMES - 1))}
    assert said[model].keys() - said["bicubic"].keys() == {"loses_to_bicubic", "beats_bicubic"}
    frames, times = (list(csv.DictReader((tmp_path / "scores" / name).open())) for name in ("frames.csv", "lead_time.csv"))
    for one in frames:  # of a single test trajectory
        [line] = [x for x in times if x["method"] == one["method"] and float(x["time"]) == 3600.0 * int(one["frame"])]
        assert (line["trajectories"], line["mse_low"], line["psnr"]) == ("1", "", one["psnr"])


@pytest.mark.parametrize("model", ["fsrcnn", "fsrcnn_56", "srcnn", "srnet3d", "linear", "edsr"])
def test_networks_train_on_pairs_without_further_inputs(model: str, tmp_path: Path) -> None:
    files = write_pair(tmp_path, kind="node")
    rows = train_here(tmp_path / "run", [*QUICK, *files, f"model={model}"])["rows"]
    assert rows[-1]["method"] == model
    assert np.isfinite(rows[-1]["mse"])


@pytest.mark.parametrize("kind", GRIDS)
@pytest.mark.parametrize("names", [("h",), ("h", "u")], ids=" ".join)
@pytest.mark.sampled(3)
def test_upscale_writes_the_fine_grid_and_the_scores_of_evaluation(kind: str, names: tuple[str, ...], tmp_path: Path) -> None:
    files = [*write_pair(tmp_path, kind=kind, names=names), f"data.variable=[{','.join(names)}]"]
    train_here(
        tmp_path / "run",
        [*QUICK, *files, "model=stacked", "model.width=8", "model.blocks=1", "data.inputs=[time,position]", "window=[0,0,0]"],
    )
    row = json.loads((tmp_path / "run" / "results.json").read_text())["rows"][-1]
    typed = [f"checkpoint={tmp_path}/run/checkpoints/best.ckpt", f"input={tmp_path}/lr.nc", f"output={tmp_path}/sr.nc", "tile=8"]
    check_upscale_files(OmegaConf.to_object(compose_config("upscale", typed)))  # before torch is imported
    output = upscale_here(typed)
    with (
        xarray.open_dataset(output, decode_times=False) as made,
        xarray.open_dataset(tmp_path / "hr.nc", decode_times=False) as hr,
    ):
        np.testing.assert_allclose(made.y, hr.y, atol=1e-9)
        np.testing.assert_allclose(made.x, hr.x, atol=1e-9)
        assert list(made.run) == [100, 101, 102, 103]
        assert dict(made.h.sizes) == dict(hr.h.sizes)
        card = torch.load(tmp_path / "run" / "checkpoints" / "best.ckpt", weights_only=True)["vsr"]["data"]
        spans = np.diff(np.reshape(card["bounds"], (-1, 2)))[:, 0]
        errors = [((made[name][3].values - hr[name][3].values) / span) ** 2 for name, span in zip(names, spans, strict=True)]
        assert list(spans) == [
            pytest.approx(float(np.ptp(hr[name][:2].values))) for name in names
        ]  # of the training trajectories
        sr = np.stack([made[name][3].values for name in names], 1)
    assert np.mean(errors) == pytest.approx(row["mse"], rel=1e-3)
    with xarray.open_dataset(tmp_path / "lr.nc", decode_times=False) as lr:
        frames = np.stack([lr[name][3].values for name in names], 1)
    network = vsr.load(tmp_path / "run" / "checkpoints" / "best.ckpt")
    np.testing.assert_allclose(network.upscale(frames), sr, rtol=1e-4, atol=1e-4)  # type: ignore[arg-type]
    frames[2, :, 4, 5] = np.nan
    assert np.isnan(network.upscale(frames)).sum((1, 2, 3)).tolist() == [0, 0, 4 * len(names), 0, 0, 0]


def on_earth(dataset: xarray.Dataset) -> xarray.Dataset:
    """Put a pair on latitudes and longitudes, at hours of March 2001."""
    degrees = {"y": ("degrees_north", 40), "x": ("degrees_east", 350)}
    places = {axis: (axis, start + 20 * dataset[axis].values, {"units": units}) for axis, (units, start) in degrees.items()}
    times = {"units": "hours since 2001-03-01 03:00", "calendar": "noleap"}
    return dataset.assign_coords(places | {"time": ("time", 6.0 * np.arange(FRAMES), times)})


def test_networks_see_hours_days_and_places_of_lr(tmp_path: Path) -> None:
    files, words = write_pair(tmp_path, kind="cell"), "data.inputs=[time,hour,day_of_year,latitude,longitude]"
    for side in ("lr", "hr"):
        rewrite(tmp_path / f"{side}.nc", on_earth)
    data, *_ = built([*files, words, "data.frames=[1,6]"])
    lr = data.sets["test"].clip(0, 5, 0, "replicate").lr[0].double()
    hours, unit = 3 + 6 * np.arange(1, FRAMES), (np.arange(SIZE) + 0.5) / SIZE
    expected = [hours / 24, (59 + hours / 24) / 365]
    for at, turns in zip((2, 4), expected, strict=True):
        np.testing.assert_allclose(lr[at : at + 2, :, 3, 5], [f(2 * np.pi * turns) for f in (np.sin, np.cos)], atol=1e-6)
    np.testing.assert_allclose(lr[6, 0, :, 2], (40 + 20 * unit) / 90, atol=1e-6)
    place = np.radians(350 + 20 * unit)
    np.testing.assert_allclose(lr[7:9, 1, 4], [np.sin(place), np.cos(place)], atol=1e-6)

    trained = train_here(tmp_path / "run", [*QUICK, *files, words, "model=resnet", "model.width=4", "model.blocks=1"])
    checkpoint = tmp_path / "run/checkpoints/best.ckpt"
    assert_same_scores(evaluate_here(tmp_path / "again", [f"checkpoint={checkpoint}"])["rows"], trained["rows"])
    made = upscale_here([f"checkpoint={checkpoint}", f"input={tmp_path}/lr.nc", f"output={tmp_path}/sr.nc"])
    low, high = trained["protocol"]["data"]["bounds"]
    with xarray.open_dataset(made) as sr, xarray.open_dataset(tmp_path / "hr.nc") as hr:
        inner = np.s_[-1, :, 2:-2, 2:-2]  # the last of four trajectories is tested on
        error, rows = (((sr.h.values - hr.h.values)[inner] / (high - low)) ** 2).mean((0, 2)), hr.y.values[2:-2]
    assert np.average(error, weights=np.cos(np.radians(rows))) == pytest.approx(trained["rows"][-1]["mse"], rel=1e-4)

    rewrite(tmp_path / "lr.nc", lambda dataset: dataset.drop_vars("time"))
    rewrite(tmp_path / "hr.nc", lambda dataset: dataset.drop_vars("time"))
    with pytest.raises(UserError, match=r"lr.nc:h: data.inputs=\[hour\]: the file has no times, not dates .*; leave the word"):
        built([*files, "data.inputs=[hour]"])
    plain = write_pair(tmp_path, kind="cell")
    with pytest.raises(UserError, match=r"lr.nc:h: data.inputs=\[latitude\]: the file has no latitudes in degrees along rows"):
        built([*plain, "data.inputs=[latitude]"])


def test_trajectories_are_matched_by_name(tmp_path: Path) -> None:
    files = write_pair(tmp_path)
    rewrite(tmp_path / "lr.nc", lambda lr: lr.isel(run=[2, 0, 3, 1]))
    data, *_ = built(files)
    assert [movie.fine.which for movie in data.read] == [2, 0, 3, 1]
    clip = data.sets["test"].clip(0, 1, 0, "replicate")
    assert float((clip.hr[0, 0, 0, ::31, ::31] - clip.lr[0, 0, 0, ::15, ::15]).abs().max()) < 1e-5  # shared corners


@pytest.mark.parametrize("layout", ["folder", "list", "npy"])
def test_a_file_for_each_trajectory(layout: str, tmp_path: Path) -> None:
    write_pair(tmp_path, count=3)
    more = []
    for side in ("lr", "hr"):
        (tmp_path / side).mkdir()
        with xarray.open_dataset(tmp_path / f"{side}.nc", decode_times=False) as dataset:
            for i in range(3):
                if layout == "npy":
                    np.save(tmp_path / side / f"run{i}.npy", dataset.h[i].values)
                else:
                    dataset.isel(run=i, drop=True).to_netcdf(tmp_path / side / f"run{i}.nc")
        paths = sorted(str(file) for file in (tmp_path / side).iterdir())
        more.append(f"data.{side}=[{','.join(paths)}]" if layout == "list" else f"data.{side}={tmp_path}/{side}")
    if layout == "npy":
        with pytest.raises(UserError, match="type data.align=cell"):
            built([*more, "data.axes=tyx"])
        more += ["data.axes=tyx", "data.align=node"]
    data, *_ = built(more)
    assert data.grid.alignment == ("node", "node")
    assert {name: len(found) for name, found in data.sets.items()} == {"train": FRAMES, "val": FRAMES, "test": FRAMES}
    (tmp_path / "hr" / f"run1.{'npy' if layout == 'npy' else 'nc'}").rename(tmp_path / "hr" / "other.nc")
    if layout == "folder":
        with pytest.raises(UserError, match=r"data.hr: lacks trajectory run1"):
            built(more)


def test_one_trajectory_is_divided_in_time_and_two_are_refused(tmp_path: Path) -> None:
    data, *_ = built([*write_pair(tmp_path, count=1), "data.learn=4", "data.test=2"])
    assert {name: len(found) for name, found in data.sets.items()} == {"train": 3, "val": 1, "test": 2}
    with pytest.raises(UserError, match="two trajectories cannot be divided"):
        built(write_pair(tmp_path, count=2))


def test_spans_gaps_and_memory_keep_frames_and_times_together(tmp_path: Path) -> None:
    files = write_pair(tmp_path)
    late = 3600 * np.array([0, 1, 2, 30, 31, 32.0])  # no clip crosses the gap
    for side in ("lr", "hr"):
        rewrite(tmp_path / f"{side}.nc", lambda found: found.assign_coords(time=("time", late, {"units": "s"})))
    held, *_ = built([*files, "data.inputs=[time]", "data.frames=[1,6]"])
    read, *_ = built([*files, "data.inputs=[time]", "data.frames=[1,6]", "data.memory=0.001"])
    assert held.sets["test"].segments == read.sets["test"].segments == ((0, 2), (2, 5))
    for one, other in zip(held.sets["test"].pairs(), read.sets["test"].pairs(), strict=False):
        assert torch.equal(one.lr[: len(other)], other.lr)
        assert torch.equal(one.hr[: len(other)], other.hr)
    times = next(iter(held.sets["test"].pairs())).lr[:, 1, 0, 0]
    torch.testing.assert_close(times, torch.from_numpy(late[1:] / late[-1]).float())
    assert type(read.sets["test"]).__name__ == "LazyFrames"
    assert held.card["sha256"] == read.card["sha256"]


def nan_at(side: str) -> Any:
    def change(folder: Path) -> None:
        def put(dataset: xarray.Dataset) -> xarray.Dataset:
            dataset.h[1, 3, 2, 2] = np.nan
            return dataset

        rewrite(folder / f"{side}.nc", put)

    return change


def of(side: str, change: Any) -> Any:
    return lambda folder: rewrite(folder / f"{side}.nc", change)


def calendar(name: str, units: str = "days since 2000-01-01") -> dict[str, Any]:
    return {"time": ("time", np.arange(float(FRAMES)), {"units": units, "calendar": name})}


def with_calendars(folder: Path) -> None:
    rewrite(folder / "lr.nc", lambda lr: lr.assign_coords(calendar("noleap")))
    rewrite(folder / "hr.nc", lambda hr: hr.assign_coords(calendar("gregorian")))


@pytest.mark.parametrize(
    ("change", "more", "message"),
    [
        (None, ["scale=4"], r"scale=4: data.hr is 2 times as large as data.lr; type scale=2$"),
        (None, ["degradation=bicubic"], r"degradation=bicubic: .*type degradation=pairs$"),
        (None, ["data.align=cell"], r"data.align=cell: the coordinate y of .*lr.nc:h\[100\] says node; leave data.align out$"),
        (None, ["consistency=projection"], r"consistency=projection: .*type consistency=none$"),
        (None, ["recipe.residual=none"], r"model: .*more channels than HR frames; type recipe.residual=bicubic$"),
        (None, ["model=fsrcnn", "data.inputs=[time]"], r"model: FSRCNN does not take data.inputs=\[time\]; type model=unet"),
        (None, ["+data.mask=true"], r"data.mask=true: data=pairs takes whole frames"),
        (of("lr", lambda d: d.isel(run=[0, 1, 2])), [], r"data.lr: lacks trajectory 103, which data.hr has"),
        (
            of("hr", lambda d: d.assign_coords(run=[0, 1, 2, 3]).isel(run=[0, 1, 2])),
            [],
            r"data.lr has 4 trajectories, data.hr has 3",
        ),
        (
            of("lr", lambda d: d.assign_coords(time=d.time + 9.0)),
            [],
            r"frame 0 is of time 59.0, that of .* of 50.0; give frames of",
        ),
        (of("lr", lambda d: d.isel(time=slice(5))), [], r"has 5 frames, .* has 6; give frames of the same times$"),
        (of("lr", lambda d: d.rename(h="depth")), [], r"holds depth, .*holds h; type .* ncrename -v depth,h FILE$"),
        (of("lr", lambda d: d.assign(h=d.h.assign_attrs(units="km"))), [], None),
        (
            of("lr", lambda d: d.assign_coords(y=("y", 2 * d.y.values, {"units": "m"}))),
            [],
            r"y from 0 to 2 at 16 pixels is no grid",
        ),
        (of("lr", lambda d: d.assign_coords(x=("x", d.x.values, {"units": "km"}))), [], r"has x in km, .* in m; give both"),
        (of("hr", lambda d: d.drop_vars("x")), [], r"hr.nc:h\[100\]: has no coordinate of x .*type data.align=cell"),
        (of("hr", lambda d: d.isel(y=slice(31))), [], r"data.hr: must be a whole number of times as large"),
        (
            of("hr", lambda d: d.isel(y=slice(8), x=slice(8))),
            [],
            r"data.lr: is finer than data.hr .*exchange data.lr and data.hr$",
        ),
        (of("lr", lambda d: d.isel(y=[0, 15], x=[0, 15])), ["scale=16"], None),
        (of("lr", lambda d: d.isel(y=[0], x=[0])), [], r"data.hr: is 32 times as large as data.lr .*must be 2 to 16 times$"),
        (nan_at("lr"), [], r"lr.nc:h\[101\]: frame 3 holds NaN .*fill them in both$"),
        (nan_at("hr"), [], r"hr.nc:h\[101\]: frame 3 holds NaN .*fill them in both$"),
        (with_calendars, [], r"has the calendar noleap, .* gregorian; give both in one calendar$"),
        (of("hr", lambda d: d.assign_coords(calendar("standard"))), [], r"counts time in 's', .* in 'days since 2000.*; give"),
    ],
)
@pytest.mark.sampled(12)
def test_what_does_not_match_is_refused_in_one_line(change: Any, more: list[str], message: str | None, tmp_path: Path) -> None:
    files = write_pair(tmp_path)
    if change is not None:
        change(tmp_path)
    if message is None:  # units of one side alone, and the largest scale, are right
        built([*files, *more, "recipe.patch=2", "window=[0,0,0]"])
        return
    with pytest.raises(UserError, match=message) as caught:
        built([*files, *more])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("units", "alike"), [("days since 1900-01-01", True), ("days since 0001-01-01", False)])
def test_the_two_gregorian_calendars_are_one_since_1583(units: str, alike: bool, tmp_path: Path) -> None:
    files = write_pair(tmp_path)
    for side, name in (("lr", "proleptic_gregorian"), ("hr", "standard")):
        rewrite(tmp_path / f"{side}.nc", lambda found, name=name: found.assign_coords(calendar(name, units)))
    if alike:
        built(files)
        return
    with pytest.raises(UserError, match="has the calendar proleptic_gregorian, .* standard; give both in one calendar$"):
        built(files)


@pytest.mark.parametrize("late", [0, 1])
def test_times_in_nanoseconds_are_compared(late: int, tmp_path: Path) -> None:
    files = write_pair(tmp_path)
    hours, ns = np.arange(FRAMES), {"units": "nanoseconds since 2000-01-01"}
    lr, hr = ("time", (hours + late) * 3600 * 10**9, ns), ("time", hours, {"units": "hours since 2000-01-01"})
    for side, times in (("lr", lr), ("hr", hr)):
        rewrite(tmp_path / f"{side}.nc", lambda found, times=times: found.assign_coords(time=times))
    if not late:
        data, _, _ = built([*files, "data.inputs=[hour]"])
        assert data.read[0].lead.tolist() == hours.tolist()
        return
    with pytest.raises(UserError, match=r"frame 0 is of time 1\.0, that of .* of 0.*; give frames of the same times$"):
        built(files)


@pytest.mark.parametrize("layout", ["alike", "of their side", "with names that repeat"])
def test_files_of_one_name_in_a_folder_for_each_trajectory(layout: str, tmp_path: Path) -> None:
    write_pair(tmp_path, count=6)
    stem = {"lr": "coarse", "hr": "fine"} if layout == "of their side" else dict.fromkeys(("lr", "hr"), "out")
    for side in ("lr", "hr"):
        with xarray.open_dataset(tmp_path / f"{side}.nc", decode_times=False) as dataset:
            for i in range(3):
                (tmp_path / side / f"run{i}").mkdir(parents=True)
                whole = dataset.isel(run=[2 * i, 2 * i + 1]).assign_coords(run=[7, 8])
                held = whole if layout == "with names that repeat" else whole.isel(run=0, drop=True)
                held.to_netcdf(tmp_path / side / f"run{i}" / f"{stem[side]}.nc")
    files = [f"data.{side}='{tmp_path}/{side}/*/*.nc'" for side in ("lr", "hr")]
    data, *_ = built(files)
    keys = ["run0", "run1", "run2"] if layout != "with names that repeat" else [f"run{i}[{n}]" for i in range(3) for n in (7, 8)]
    assert [movie.name.partition("/hr/")[2].split("/")[0] for movie in data.read] == [key[:4] for key in keys]
    for movie in data.read:  # the values differ between trajectories
        assert float((movie.read(0, 1)[0, 0, ::31, ::31] - movie.read_lr(0, 1)[0, 0, ::15, ::15]).abs().max()) < 1e-5
    with pytest.raises(UserError, match=r"hr: a folder without a file of arrays, .*; type '.*/hr/\*/\*.nc' for the files in its"):
        built([files[0], f"data.hr={tmp_path}/hr"])
    (tmp_path / "hr" / "run1").rename(tmp_path / "hr" / "run9")
    with pytest.raises(UserError, match="data.hr: lacks trajectory run1"):
        built(files)


def with_wind(gain: float = 1.0) -> Any:
    """Add a variable that only LR has, of another range."""
    return of("lr", lambda d: d.assign(tau=(d.h.dims, gain * (500 + 100 * np.roll(d.h.values, 1, 1)).astype(np.float32))))


@pytest.mark.parametrize(("kind", "names"), [("node", ("h",)), ("cell", ("h", "u"))])
def test_variables_that_only_lr_has_are_inputs(
    kind: str, names: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [*write_pair(tmp_path, kind=kind, names=names), f"data.variable=[{','.join(names)}]"]
    with_wind()(tmp_path)
    main(["inspect", f"{tmp_path}/lr.nc", "--hr", f"{tmp_path}/hr.nc"])
    assert "LR has tau, too; data.lr_variable=[tau] shows" in capsys.readouterr().out
    with xarray.open_dataset(tmp_path / "lr.nc", decode_times=False) as lr:
        tau = lr.tau.values
        values = np.stack([lr[name][3].values for name in (*names, "tau")], 1)
    typed = [*files, f"data.lr_variable=[{','.join(names)},tau]", "data.inputs=[time]", "model=stacked", "model.width=8"]
    train_here(tmp_path / "run", [*QUICK, *typed, "model.blocks=1", "window=[0,0,0]"])
    checkpoint = tmp_path / "run" / "checkpoints" / "best.ckpt"
    card = torch.load(checkpoint, weights_only=True)["vsr"]["data"]
    bounds = [float(tau[:2].min()), float(tau[:2].max())]  # of the training trajectories
    assert card["pairs"]["lr_variables"] == {"names": ["tau"], "bounds": [pytest.approx(bounds, rel=1e-6)]}
    assert card["channels"] == len(names)
    data, *_ = built([*typed[:-2], "model=resnet"])
    seen = data.sets["test"].clip(0, FRAMES, 0, "replicate").lr[0, len(names)]
    np.testing.assert_allclose(seen, (tau[3] - bounds[0]) / (bounds[1] - bounds[0]), atol=1e-5)
    row = json.loads((tmp_path / "run" / "results.json").read_text())["rows"][-1]
    found = evaluate_here(tmp_path / "scores", [f"checkpoint={checkpoint}"])["rows"]
    assert found[-1]["mse"] == pytest.approx(row["mse"], rel=1e-5)
    upscale = [f"checkpoint={checkpoint}", f"input={tmp_path}/lr.nc", "tile=8", *(["variable=h"] if names == ("h",) else [])]
    with (
        xarray.open_dataset(upscale_here([*upscale, f"output={tmp_path}/sr.nc"]), decode_times=False) as made,
        xarray.open_dataset(tmp_path / "hr.nc", decode_times=False) as hr,
    ):
        sr, truth = (np.stack([each[name][3].values for name in names], 1) for each in (made, hr))
    spans = np.diff(np.reshape(card["bounds"], (-1, 2)))[:, 0].reshape(-1, 1, 1)
    assert np.mean(((sr - truth) / spans) ** 2) == pytest.approx(row["mse"], rel=1e-3)
    network = vsr.load(checkpoint)
    np.testing.assert_allclose(network.upscale(values), sr, rtol=1e-4, atol=1e-3)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=rf"takes \(T, {len(names) + 1}, H, W\), whose last channels are tau"):
        network.upscale(values[:, :-1])
    rewrite(tmp_path / "lr.nc", lambda lr: lr.drop_vars("tau"))
    with pytest.raises(UserError, match=r"lr.nc: has no tau, .*data.lr_variable=\[tau\]; give a file with"):
        upscale_here([*upscale, f"output={tmp_path}/other.nc"])


@pytest.mark.parametrize(
    ("change", "more", "message"),
    [
        (with_wind(), ["model=fsrcnn"], r"model: FSRCNN does not take data.lr_variable=\[tau\]; type model=unet"),
        (with_wind(), ["data.lr_variable=[h]"], r"data.lr_variable=\[h\]: names no variable beside data.variable; leave it out"),
        (with_wind(0.0), [], r"data.lr_variable: every value of tau is 0 in the training frames"),
        (None, [], r"lr.nc: no array data.lr_variable=tau|tau"),
        (
            of("lr", lambda d: d.assign(tau=d.h.isel(y=slice(8)).rename(y="lat"))),
            [],
            r"data.lr_variable takes arrays of the same",
        ),
    ],
)
def test_what_lr_variable_cannot_be_is_refused(change: Any, more: list[str], message: str, tmp_path: Path) -> None:
    files = write_pair(tmp_path)
    if change is not None:
        change(tmp_path)
    with pytest.raises(UserError, match=message) as caught:
        built([*files, "data.variable=h", "data.lr_variable=tau", *more])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", GRIDS)
def test_inspect_says_how_two_files_belong_together(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("h", "u")
    files = write_pair(tmp_path, kind=kind, names=names, down="hr")
    main(["inspect", f"{tmp_path}/lr.nc", "--hr", f"{tmp_path}/hr.nc"])
    *said, train = capsys.readouterr().out.splitlines()
    assert said[:6] == [
        f"LR: {tmp_path}/lr.nc: 4 trajectories of {FRAMES} frames of {SIZE}x{SIZE}",
        f"HR: {tmp_path}/hr.nc: 4 trajectories of {FRAMES} frames of {2 * SIZE}x{2 * SIZE}",
        "trajectories: match by their names: 100, 101, 102, 103",
        "variables: h, u",
        "times: the same in both; 18000 s from the first to the last frame",
        "scale: 2",
    ]
    assert said[6].startswith(f"alignment: {kind}: ")
    assert said[6].endswith("from the coordinates; HR is read with y turned around, as LR has it")
    assert said[7].startswith("  y: y of LR from 0")
    assert train.startswith("train: vsr train data=pairs ")
    words = shlex.split(train.removeprefix("train: vsr train "))
    data, *_ = built([*words, "recipe.patch=8", "model.width=4"])
    assert data.variables == names
    main(["inspect", f"{tmp_path}/lr.nc", "--hr", f"{tmp_path}/hr.nc", "--variable", "h"])
    assert " data.variable=h scale=2 " in capsys.readouterr().out
    assert files[2] == "scale=2"


@pytest.mark.parametrize(
    ("change", "more", "message"),
    [
        (None, ["--align", "cell"], "data.align=cell: the coordinate y of {}/lr.nc:h[100] says node; leave data.align out"),
        (of("lr", lambda d: d.isel(time=slice(5))), [], "lr.nc:h[103]: has 5 frames, {}/hr.nc:h[103] has 6; give frames of"),
        (of("lr", lambda d: d.rename(h="depth")), [], "lr.nc:depth[103]: holds depth, {}/hr.nc:h[103] holds h; type"),
        (of("lr", lambda d: d.drop_vars("x")), [], "lr.nc:h[100]: has no coordinate of x that says where LR pixels lie; type"),
        (None, ["--picture", "p.png"], "--picture: draws the frames of one file; leave --hr out"),
    ],
)
def test_inspect_refuses_files_that_are_no_pair(
    change: Any, more: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pair(tmp_path)
    if change is not None:
        change(tmp_path)
    with pytest.raises(SystemExit):
        main(["inspect", f"{tmp_path}/lr.nc", "--hr", f"{tmp_path}/hr.nc", *more])
    error = capsys.readouterr().err
    assert message.replace("{}", str(tmp_path)) in error
    assert error.count("\n") == 1


def test_inspect_of_gaps_and_of_two_files_without_hr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pair(tmp_path, coordinates=False)
    nan_at("lr")(tmp_path)
    main(["inspect", f"{tmp_path}/lr.nc", "--hr", f"{tmp_path}/hr.nc", "--align", "node"])
    said = capsys.readouterr().out
    assert "alignment: node: both grids share their end points, as data.align says" in said
    assert "warning: LR: 1 values of a sample of 24 frames are NaN or infinite" in said
    assert " data.align=node scale=2 " in said
    with pytest.raises(SystemExit):
        main(["inspect", f"{tmp_path}/lr.nc", f"{tmp_path}/hr.nc"])
    assert f"for a coarse and a fine run: vsr inspect {tmp_path}/lr.nc --hr {tmp_path}/hr.nc" in capsys.readouterr().err
    code = "import sys; from vsr.__main__ import main; main(sys.argv[1:]); assert 'torch' not in sys.modules"
    command = [sys.executable, "-c", code, "inspect", f"{tmp_path}/lr.nc", "--hr", f"{tmp_path}/hr.nc", "--align", "node"]
    run_process(command, capture_output=True, check=True, cwd=ROOT)


def test_upscale_and_evaluate_refuse_what_training_did_not_see(tmp_path: Path) -> None:
    files = write_pair(tmp_path)
    train_here(tmp_path / "run", [*QUICK, *files, "model=plain", "model.width=4", "data.inputs=[time]"])
    checkpoint = f"checkpoint={tmp_path}/run/checkpoints/best.ckpt"
    with pytest.raises(UserError, match=r"data.inputs=.*trained with \['time'\]; type 'data.inputs=\[time\]'"):
        evaluate_here(tmp_path / "scores", [checkpoint, "data=pairs", *files[:2]])
    rewrite(tmp_path / "lr.nc", lambda lr: lr.isel(y=slice(None, None, -1)))
    with pytest.raises(UserError, match=r"y falls from the first pixel to the last.*turn the file around along y$"):
        upscale_here([checkpoint, f"input={tmp_path}/lr.nc", f"output={tmp_path}/sr.nc"])
    rewrite(tmp_path / "lr.nc", lambda lr: lr.isel(y=slice(None, None, -1)).drop_vars("time"))
    with pytest.raises(UserError, match=r"counts time in frames, .* data.inputs=\[time\] in s; give a file with times in s$"):
        upscale_here([checkpoint, f"input={tmp_path}/lr.nc", f"output={tmp_path}/sr.nc"])


def test_the_guard_compares_lr_with_that_of_the_training_pairs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = write_pair(tmp_path, kind="cell", names=("h", "u"))
    for side in ("lr", "hr"):
        rewrite(tmp_path / f"{side}.nc", lambda found: found.assign(u=found.u.assign_attrs(units="m s-1")))
    typed = [*files, "data.variable=[h,u]", "model=stacked", "model.width=8", "model.blocks=1", "data.inputs=[time]"]
    train_here(tmp_path / "run", [*QUICK, *typed])
    checkpoint = tmp_path / "run" / "checkpoints" / "best.ckpt"
    upscale = [f"checkpoint={checkpoint}", "tile=8", f"output={tmp_path}/sr.nc", "overwrite=true"]
    caplog.clear()
    upscale_here([*upscale, f"input={tmp_path}/lr.nc"])
    assert "unlike" not in caplog.text
    assert "measured" not in caplog.text
    with pytest.raises(UserError, match=r"32x32 pixels as fine as .* 2 times coarser; give the coarse file, or") as caught:
        upscale_here([*upscale, f"input={tmp_path}/hr.nc"])
    assert "\n" not in str(caught.value)
    upscale_here([*upscale, f"input={tmp_path}/hr.nc", "guard=off"])
    network = vsr.load(checkpoint, tile=8)
    with xarray.open_dataset(tmp_path / "lr.nc", decode_times=False) as lr:
        values = np.stack([lr[name][3].values for name in ("h", "u")], 1)
        noise = np.random.default_rng(0).standard_normal(values[:, 1].shape)
        wrong = values + 20 * np.stack([0 * noise, noise], 1)
        lr.load().assign(u=(lr.u.dims, np.stack([*lr.u.values[:3], wrong[:, 1]]))).to_netcdf(tmp_path / "noisy.nc")
        lr.assign_coords(time=("time", 2 * lr.time.values, lr.time.attrs)).to_netcdf(tmp_path / "late.nc")
    assert not network.ood_score(values).unfamiliar  # type: ignore[union-attr]
    assert str(network.ood_score(wrong)).startswith("u ")
    for unit, told in (("cm/s", True), ("m/s", False), ("m s**-1", False)):
        with xarray.open_dataset(tmp_path / "lr.nc", decode_times=False) as lr:
            lr.load().u.attrs["units"] = unit
            lr.to_netcdf(tmp_path / "units.nc")
        caplog.clear()
        upscale_here([*upscale, f"input={tmp_path}/units.nc"])
        said = f"u of {tmp_path}/units.nc:h,u is in cm/s, and {checkpoint} was trained on m s-1: values are not converted"
        assert (said in caplog.text) == told
        assert ("not converted" in caplog.text) == told
    upscale_here([*upscale, f"input={tmp_path}/late.nc"])
    assert "lead times up to 36000 s, in training up to 18000 s; type guard=linear to have the" in caplog.text
    caplog.clear()
    made = upscale_here([*upscale, f"input={tmp_path}/noisy.nc", "guard=linear"])
    assert "movie 4 of 4 is unlike what the network was trained on: u with" in caplog.text
    assert caplog.text.count("unlike") == 1
    with xarray.open_dataset(made, decode_times=False) as sr:
        frames = np.stack([sr[name].values for name in ("h", "u")], 2)
    filtered = network.linear(network.add_planes(torch.from_numpy(wrong).float(), {"time": 3600.0 * np.arange(FRAMES)}))
    np.testing.assert_allclose(frames[3], filtered.numpy(), rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(frames[2], network.upscale(lr_of(tmp_path, 2)), rtol=1e-4, atol=1e-3)
    evaluate = [f"checkpoint={checkpoint}", "data=pairs", files[1], "data.variable=[h,u]", "data.inputs=[time]", "report=false"]
    for name, unlike in (("lr", 0), ("noisy", 1)):
        caplog.clear()
        results = evaluate_here(tmp_path / name, [*evaluate, f"data.lr={tmp_path}/{name}.nc"])
        assert ("1 of 1 trajectories of 'test' are unlike what stacked was trained on: u with" in caplog.text) == bool(unlike)
        [found] = [each["familiar"]["test"] for each in results["protocol"]["checkpoints"]]
        assert (found["trajectories"], len(found["unlike"])) == (1, unlike)


def lr_of(folder: Path, which: int) -> np.ndarray:
    """Return the frames (T, C, h, w) of a trajectory of lr.nc."""
    with xarray.open_dataset(folder / "lr.nc", decode_times=False) as lr:
        return np.stack([lr[name][which].values for name in ("h", "u")], 1)


@pytest.mark.parametrize("kind", ["cell", "node"])
def test_the_mean_of_lr_is_restored_in_each_frame_and_variable(kind: str, tmp_path: Path) -> None:
    files = [*write_pair(tmp_path, kind=kind, names=("h", "u"), gain=0.9), "data.variable=[h,u]", "data.inputs=[time]"]
    typed = [*QUICK, *files, "model=stacked", "model.width=8", "model.blocks=1", "window=[0,0,0]"]
    results = train_here(tmp_path / "run", [*typed, "consistency=mean"])
    assert results["rows"][-1]["method"] == "stacked+mean"
    checkpoint = f"checkpoint={tmp_path}/run/checkpoints/best.ckpt"
    assert_same_scores(evaluate_here(tmp_path / "scores", [checkpoint])["rows"], results["rows"])
    away = {}
    for choice in ("mean", "none"):
        typed = [checkpoint, f"input={tmp_path}/lr.nc", f"output={tmp_path}/{choice}.nc", "tile=8", f"consistency={choice}"]
        with (
            xarray.open_dataset(upscale_here(typed), decode_times=False) as sr,
            xarray.open_dataset(tmp_path / "lr.nc", decode_times=False) as lr,
        ):
            means = []
            for side in (sr, lr):
                values = np.stack([side[name].values.astype(np.float64) / 100.0**i for i, name in enumerate(("h", "u"))])
                weights = np.ones(values.shape[-1])
                weights[[0, -1]] = 0.5 if kind == "node" else 1
                means.append(values @ weights @ weights / weights.sum() ** 2)  # along x, then along y
        away[choice] = np.abs(means[0] - means[1]).max()
    assert away["mean"] < 1e-6 < 1e-3 < away["none"]


def test_the_mean_of_a_shifted_grid_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="consistency=mean: LR of a staggered grid covers another area than HR; type"):
        built([*write_pair(tmp_path, kind="staggered"), "consistency=mean"])


def test_the_guard_knows_values_with_a_large_offset(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = write_pair(tmp_path, kind="cell")
    for side in ("lr", "hr"):
        rewrite(tmp_path / f"{side}.nc", lambda found: found.assign(h=(found.h.dims, 101325 + found.h.values.astype(np.float64))))
    train_here(tmp_path / "run", [*QUICK, *files, "model=resnet", "model.width=8", "model.blocks=1"])
    upscale_here([f"checkpoint={tmp_path}/run", f"input={tmp_path}/lr.nc", f"output={tmp_path}/sr.nc"])
    assert "unlike" not in caplog.text
    network = vsr.load(tmp_path / "run")
    assert network.offset > 1e5
    with xarray.open_dataset(tmp_path / "lr.nc", decode_times=False) as lr:
        assert not network.ood_score(lr.h[3].values).unfamiliar  # type: ignore[union-attr]
        assert str(network.ood_score(lr.h[3].values + 20)).startswith("from 1013")


def test_calibrated_intervals_of_pairs_follow_the_lead_time(tmp_path: Path) -> None:
    files = write_pair(tmp_path, kind="cell", count=10)
    typed = [*files, "model=plain", "data.inputs=[position,time]", "data.val=0.5"]
    train_here(tmp_path / "run", [*QUICK, *typed])
    checkpoint = f"checkpoint={tmp_path}/run/checkpoints/best.ckpt"
    evaluate_here(tmp_path / "scores", [checkpoint, "calibrate=true", "report=false"])
    [entry] = json.loads((tmp_path / "scores" / "calibration.json").read_text()).values()
    assert np.shape(entry["widths"]) == (1, 8 * 3, 19)
    keep = [f"calibration={tmp_path}/scores/calibration.json", "keep=[mean,q05,q95]"]
    made = upscale_here([checkpoint, f"input={tmp_path}/lr.nc", f"output={tmp_path}/sr.nc", "guard=off", *keep])
    with xarray.open_dataset(made, decode_times=False) as sr:
        half = (sr["h_q95"] - sr["h"]).values[-1]
        np.testing.assert_allclose(sr["h"] - sr["h_q05"], sr["h_q95"] - sr["h"], atol=1e-5)
    command = [checkpoint, f"input={tmp_path}/lr.nc", f"output={tmp_path}/sr.zarr", "guard=off", *keep]
    several = upscale_here([*command, "workers=1"])
    with xarray.open_dataset(made, decode_times=False) as one, xarray.open_zarr(several, decode_times=False) as parts:
        for name in ("h", "h_q05", "h_q95"):
            np.testing.assert_array_equal(parts[name], one[name])
    sizes = entry["ranges"][0] * np.array(entry["widths"])[0, :, 17].reshape(8, 3)
    for k in range(FRAMES):
        part = int(np.searchsorted(entry["leads"], k / (FRAMES - 1)))
        off = np.abs(half[k][..., None] - sizes[part]).min(-1)
        assert off.max() < 1e-3 * sizes[part].max() + 1e-5, k
    assert half[0].mean() != pytest.approx(half[-1].mean(), rel=1e-3)


def test_energy_and_the_velocity_through_walls_are_scored(tmp_path: Path) -> None:
    names = ("u", "h", "v")
    files = [*write_pair(tmp_path, kind="node", names=names), f"data.variable=[{','.join(names)}]"]
    train_here(tmp_path / "run", [*QUICK, *files, "model=resnet", "model.width=4", "model.blocks=1"])
    checkpoint = f"checkpoint={tmp_path}/run/checkpoints/best.ckpt"
    again = [f"data.{file.removeprefix('data.')}" for file in files if not file.startswith("scale")]
    plain = evaluate_here(tmp_path / "plain", [checkpoint])
    found = evaluate_here(tmp_path / "walls", [checkpoint, "data=pairs", *again, "data.walls=true"])
    rows = {row["method"]: row for row in found["rows"] if row["variable"] == "all variables"}
    assert all(row["energy"] is None and row["wall_velocity"] is None for row in found["rows"] if row["variable"] in names)
    made = upscale_here([checkpoint, f"input={tmp_path}/lr.nc", f"output={tmp_path}/sr.nc", "guard=off"])
    with xarray.open_dataset(made, decode_times=False) as sr, xarray.open_dataset(tmp_path / "hr.nc", decode_times=False) as hr:
        (u, v), (x, y) = ([side[name][3].values.astype(np.float64) for name in "uv"] for side in (sr, hr))
    inner = np.s_[:, 2:-2, 2:-2]
    energy = [((a**2 + b**2) / 2)[inner].mean((1, 2)) for a, b in ((u, v), (x, y))]
    through = np.concatenate([v[:, 0], v[:, -1], u[:, :, 0], u[:, :, -1]], 1)
    walls = np.sqrt((through**2).mean(1) / (x**2 + y**2).mean((1, 2)))
    assert rows["resnet"]["energy"] == pytest.approx(float((energy[0] / energy[1]).mean()), rel=1e-4)
    assert rows["resnet"]["wall_velocity"] == pytest.approx(float(walls.mean()), rel=1e-4)
    content = json.loads((tmp_path / "walls" / "results.json").read_text())
    [name] = content["protocol"]["test trajectories"]
    assert name.endswith("[103]")
    assert [one["columns"]["energy"] for one in content["curves"] if one["curve"] == "lead_time" and "energy" in one["columns"]]
    # Names tell that u and v are a vector, and nothing tells that the border is a wall.
    others = {row["method"]: row for row in plain["rows"] if row["variable"] == "all variables"}
    assert others["resnet"]["energy"] == rows["resnet"]["energy"]
    assert "wall_velocity" not in others["resnet"]
    assert plain["protocol"]["data"] == found["protocol"]["data"]


@pytest.mark.parametrize("names", [("h", "u", "v"), ("h", "a", "b")])
def test_an_ensemble_turns_the_velocities_that_names_tell(names: tuple[str, ...], tmp_path: Path) -> None:
    files = write_pair(tmp_path, names=names, kind="cell")
    train_here(tmp_path / "run", [*QUICK, *files, f"data.variable=[{','.join(names)}]", "model=plain"])
    upscaler = vsr.load(tmp_path / "run" / "checkpoints" / "best.ckpt", device="cpu", ensemble=True)
    with xarray.open_dataset(tmp_path / "lr.nc", decode_times=False) as lr:
        frames = np.stack([lr[name].values[0] for name in names], 1)
    signs = np.array([1, -1, 1], np.float32).reshape(-1, 1, 1) if "u" in names else np.float32(1)
    sr, mirrored = upscaler.upscale(frames), upscaler.upscale(signs * frames[..., ::-1])
    spread = np.ptp(sr, (0, 2, 3)).reshape(-1, 1, 1)
    np.testing.assert_allclose(signs * mirrored[..., ::-1] / spread, sr / spread, atol=1e-4)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], r"data.walls=true: is for velocities, .*; type data.vectors=\[\[u,v\]\] with their names$"),
        (["data.vectors=[[h,q]]"], r"data.vectors=\[\[h,q\]\]: q is none of the variables"),
    ],
)
def test_walls_need_a_vector(more: list[str], message: str, tmp_path: Path) -> None:
    files = [*write_pair(tmp_path, names=("h", "g")), "data.variable=[h,g]", "data.walls=true"]
    with pytest.raises(UserError, match=message):
        built([*files, *more])
    data, *_ = built([*files, "data.vectors=[[h,g]]"])
    assert data.scored_vectors == ((0, 1),)
