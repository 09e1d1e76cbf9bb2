"""Fields on a globe: longitudes go round, rows go on beyond the poles, vectors turn there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import vsr
from tests.fakes import assert_same_scores, evaluate_here, train_here, upscale_here
from vsr.data.base import SRDataModule
from vsr.data.datamodules.climate import ClimateDataModule
from vsr.data.loaders import SYMMETRIES, apply_symmetry, turn_vectors
from vsr.degradations.border import Border
from vsr.degradations.resize import resize_bicubic_down
from vsr.degradations.scaling import Bicubic
from vsr.errors import UserError
from vsr.io.readers.open import open_movie
from vsr.recipe import Recipe

xarray = pytest.importorskip("xarray")

ROWS, COLUMNS = 24, 48


def fields(frames: int = 12) -> dict[str, np.ndarray]:
    """Return a temperature and a wind on the sphere, smooth across the poles."""
    latitude = np.radians(90 - (np.arange(ROWS) + 0.5) * 180 / ROWS)[:, None]
    longitude = np.radians((np.arange(COLUMNS) + 0.5) * 360 / COLUMNS)
    time = np.arange(frames)[:, None, None]
    x, y, z = np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude) + 0 * longitude
    return {
        "t": 280 + 20 * np.sin(3 * x + 0.2 * time) + 9 * np.cos(5 * y + 2 * z),
        # The wind of a sphere that turns about an axis in the plane of the equator blows across both poles.
        "u": 9 * np.sin(latitude) * np.cos(longitude + 0.1 * time) + np.sin(6 * x),
        "v": -9 * np.sin(longitude + 0.1 * time) + 0 * latitude + np.cos(4 * y) * x,
    }


def write(path: Path, shift: int = 0, rows: slice = slice(None), columns: slice = slice(None), coarse: bool = False) -> Path:
    """Write the fields, beginning `shift` columns further west; coarse ones as means of 2x2 pixels."""
    side = 2 if coarse else 1
    latitude = 90 - (np.arange(ROWS // side) + 0.5) * 180 * side / ROWS
    longitude = (np.arange(COLUMNS // side) + 0.5) * 360 * side / COLUMNS
    made = {}
    for name, values in fields().items():
        if coarse:
            values = values.reshape(len(values), ROWS // 2, 2, COLUMNS // 2, 2).mean((2, 4))
        made[name] = (("time", "lat", "lon"), np.roll(values, shift, -1)[:, rows, columns].astype(np.float32))
    coords = {"lat": latitude[rows], "lon": longitude[columns]}
    xarray.Dataset(made, coords).to_netcdf(path, engine="h5netcdf")
    return path


def data_of(path: Path, variable: Any = ("t", "u", "v"), **more: Any) -> SRDataModule:
    recipe = Recipe(patch=8, batch=6, steps=4, augment=False)
    names = list(variable) if isinstance(variable, tuple) else variable
    data = ClimateDataModule(path=str(path), variable=names, scale=2, degradation=Bicubic(), recipe=recipe, **more)
    data.setup()
    return data


def beyond(frames: torch.Tensor) -> torch.Tensor:
    """Return frames (N, 3, H, W) on all sides of which the globe goes on: u and v blow the other way beyond the poles."""
    turned = frames.flip(-2).roll(frames.shape[-1] // 2, -1) * torch.tensor([1.0, -1.0, -1.0]).view(3, 1, 1)
    return torch.cat([torch.cat([turned, frames, turned], -2)] * 3, -1)


@pytest.mark.parametrize("memory", [1024, 1e-3])  # MiB: frames in memory, and in their file
def test_lr_pixels_and_patches_know_the_other_side(tmp_path: Path, caplog: pytest.LogCaptureFixture, memory: float) -> None:
    with caplog.at_level("INFO"):
        data = data_of(write(tmp_path / "a.nc"), vectors=[["u", "v"]], memory=memory)
    assert "longitudes go round the globe, and rows go on beyond the poles (data.periodic=none if not)" in caplog.text
    assert (data.card["border"], data.card["vectors"], data.card["north_up"]) == ("globe", [[1, 2]], True)
    pair = data.sets["train"].read(0, 3)
    around = beyond(pair.hr)
    expected = resize_bicubic_down(around, 2)[..., 12:24, 24:48]
    torch.testing.assert_close(pair.lr, expected, rtol=0, atol=2e-4)
    assert (pair.lr - resize_bicubic_down(pair.hr, 2)).abs().max() > 0.1

    # Every patch is a part of the frame that goes on on all sides.
    data.configure_loaders(data.recipe, context=0, margin=0, trim=0, reach=3)
    coarse = beyond(data.sets["train"].read(0, len(data.sets["train"])).lr)
    fine = beyond(data.sets["train"].read(0, len(data.sets["train"])).hr)
    across = 0
    for batch in data.train_dataloader():
        for lr, hr, at in zip(batch.lr[:, :, 0], batch.hr[:, :, 0], batch.position.tolist(), strict=True):
            found = (coarse[at].unfold(1, 8, 1).unfold(2, 8, 1) == lr[:, None, None]).all(-1).all(-1).all(0).nonzero()
            y, x = found[0].tolist()
            torch.testing.assert_close(hr, fine[at, :, 2 * y : 2 * y + 16, 2 * x : 2 * x + 16])
            across += not (12 <= y <= 16 and 24 <= x <= 40) and len(found) < 4
    assert across > 4

    # Pixels count by their area on request.
    data.configure_loaders(replace(data.recipe, area=True), context=0, margin=0, trim=0)
    areas = torch.cat([batch.mask for batch in data.train_dataloader()])
    rows = torch.cos(torch.deg2rad(90 - (torch.arange(ROWS) + 0.5) * 180 / ROWS))
    assert torch.isin((areas * 1e4).round(), (rows * 1e4).round()).all()
    assert areas.unique().numel() == ROWS // 2
    data.configure_loaders(data.recipe, context=0, margin=0, trim=0, reach=3)

    # Scored LR frames go on, too.
    clip, n = next(iter(data.test_dataloader()[0])), 3
    assert clip.border == (n, n)
    torch.testing.assert_close(
        clip.lr[0].transpose(0, 1), beyond(clip.own_lr[0].transpose(0, 1))[..., 12 - n : 24 + n, 24 - n : 48 + n]
    )


def test_it_does_not_matter_where_longitudes_begin(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    here, there = write(tmp_path / "a.nc"), write(tmp_path / "b.nc", shift=10)
    keys = [
        "data=climate",
        f"data.path={here}",
        "data.variable=[t,u,v]",
        "data.vectors=[[u,v]]",
        "data.symmetries=[flip_y,flip_x]",
    ]
    keys += ["model=stacked", "model.width=4", "model.blocks=1", "recipe.steps=3", "recipe.patch=8", "window=[0,0,0]", "epochs=1"]
    trained = train_here(tmp_path / "run", [*keys, "consistency=backprojection"])
    best = tmp_path / "run/checkpoints/best.ckpt"
    scored = evaluate_here(tmp_path / "one", [f"checkpoint={best}"])["rows"]
    assert_same_scores(scored, trained["rows"])
    moved = evaluate_here(tmp_path / "two", [f"checkpoint={best}", "data=climate", f"data.path={there}", *keys[2:4]])["rows"]
    for one, other in zip(scored, moved, strict=True):
        for score in ("psnr", "consistency"):  # SSIM and spectra leave out, or taper, the border
            expected = None if one[score] is None else pytest.approx(one[score], rel=1e-4, abs=1e-6)
            assert other[score] == expected, (one["method"], score)
    assert sum(row["consistency"] is not None for row in scored) == 15

    coarse = [write(tmp_path / f"{name}.nc", shift=shift, coarse=True) for name, shift in (("c", 0), ("d", 5))]
    finer = [upscale_here([f"checkpoint={best}", f"input={path}"]) for path in coarse]
    found = [open_movie(path, variable=["t", "u", "v"], axes=None) for path in finer]
    whole, rolled = (movie.read(0, 0, 12) for movie in found)
    np.testing.assert_allclose(np.roll(whole, 10, -1), rolled, rtol=0, atol=1e-4)
    network = vsr.load(best)
    dataset = xarray.open_dataset(coarse[0], engine="h5netcdf")
    np.testing.assert_allclose(network.upscale(dataset)["u"].values, whole[1], rtol=0, atol=1e-4)
    np.savez(tmp_path / "bare.npz", **{name: dataset[name].values for name in ("t", "u", "v")})
    with caplog.at_level("INFO"):
        upscale_here([f"checkpoint={best}", f"input={tmp_path / 'bare.npz'}", "axes=tyx"])
    assert "its frames are mirrored; type periodic=globe if they go on, too" in caplog.text
    mirrored = vsr.load(best, periodic="none").upscale(dataset)["u"].values
    assert np.abs(mirrored - whole[1]).max() > 1e-3


def begin_elsewhere(path: Path, columns: int) -> Path:
    """Write a file whose longitudes begin elsewhere, and return its path."""
    target = path.with_name(f"{path.stem}_{columns}.nc")
    with xarray.open_dataset(path, engine="h5netcdf") as file:
        file.roll(lon=columns, roll_coords=True).to_netcdf(target, engine="h5netcdf")
    return target


def write_orography(path: Path) -> np.ndarray:
    """Write a field on the grid of HR, and return it."""
    values = fields(1)["t"][0] + np.random.default_rng(0).standard_normal((ROWS, COLUMNS))
    with xarray.open_dataset(path.with_name("a.nc"), engine="h5netcdf") as file:
        coords = {"lat": file.lat.values, "lon": file.lon.values}
    xarray.Dataset({"z": (("lat", "lon"), values.astype(np.float32))}, coords).to_netcdf(path, engine="h5netcdf")
    return values


def test_static_fields_and_places_go_round_too(tmp_path: Path) -> None:
    here, orography = write(tmp_path / "a.nc"), tmp_path / "z.nc"
    values = torch.from_numpy(write_orography(orography)).float()[None, None]
    beside = {"static": [f"{orography}:z"], "inputs": ["latitude", "longitude"], "lr_variable": ["v"]}
    data = data_of(here, ("t", "u"), vectors=[], **beside)
    assert (data.card["border"], data.card["beside"]["static"][0]["name"]) == ("globe", "z")
    data.configure_loaders(data.recipe, context=0, margin=0, trim=0, reach=3)
    clip, n = next(iter(data.test_dataloader()[0])), 3
    seen = torch.nn.functional.pixel_shuffle(clip.lr[0, -4:, 0], 2)
    around = (beyond(values.expand(-1, 3, -1, -1))[0, 0] - values.mean()) / values.std()
    torch.testing.assert_close(seen[0], around[24 - 2 * n : 48 + 2 * n, 48 - 2 * n : 96 + 2 * n], rtol=0, atol=1e-5)
    latitude = clip.lr[0, 3, 0]
    torch.testing.assert_close(latitude[:n], latitude[n : 2 * n].flip(0))

    keys = ["data=climate", "data.variable=[t,u]", "data.vectors=[]", "data.lr_variable=[v]", "data.inputs=[latitude,longitude]"]
    keys += [f"data.static=[{orography}:z]", "model=resnet", "model.width=4", "model.blocks=1", "recipe.steps=3"]
    keys += ["recipe.patch=8", "window=[0,0,0]", "epochs=1"]
    trained = train_here(tmp_path / "run", [*keys, f"data.path={here}"])
    best = tmp_path / "run/checkpoints/best.ckpt"
    there = begin_elsewhere(here, 10)
    moved = evaluate_here(tmp_path / "moved", [f"checkpoint={best}", *keys[:6], f"data.path={there}"])["rows"]
    found = {(row["variable"], row["method"]): row["psnr"] for row in moved}
    for row in trained["rows"]:
        assert found[row["variable"], row["method"]] == pytest.approx(row["psnr"], rel=1e-5)

    coarse = write(tmp_path / "c.nc", coarse=True)
    rolled, finer = begin_elsewhere(coarse, 5), begin_elsewhere(orography, 10)
    more = [[f"input={coarse}"], [f"input={rolled}"], [f"input={rolled}", f"static=[{finer}:z]", f"output={tmp_path}/given.nc"]]
    made = [
        open_movie(upscale_here([f"checkpoint={best}", *each]), variable=["t", "u"], axes=None).read(0, 0, 12) for each in more
    ]
    np.testing.assert_allclose(np.roll(made[0], 10, -1), made[1], rtol=1e-6, atol=1e-5)
    np.testing.assert_array_equal(made[1], made[2])
    lr = np.stack([open_movie(coarse, variable=name, axes=None).read(0, 0, 12)[0] for name in "tuv"], 1)
    mirrored = vsr.load(best, periodic="none", static=[f"{orography}:z"])
    with pytest.raises(UserError, match=r"no latitudes in degrees"):
        mirrored.upscale(lr)
    with xarray.open_dataset(upscale_here([f"checkpoint={best}", *more[0], "periodic=none", f"output={tmp_path}/m.nc"])) as file:
        assert np.abs(file.t.values - made[0][0]).max() > 1e-3


def test_rows_of_finer_fields_turn_beyond_a_pole() -> None:
    fine, lr = torch.rand(2, 2, 24, 36), torch.rand(2, 3, 8, 12)
    frames = torch.cat([lr, torch.nn.functional.pixel_unshuffle(fine, 3), torch.rand(2, 1, 8, 12)], 1)
    padded = Border("globe", {1: 0.5}, (3, 21, 3)).pad(frames, (4, 2))
    torch.testing.assert_close(torch.nn.functional.pixel_shuffle(padded[:, 3:21], 3), Border("globe").pad(fine, (12, 6)))
    torch.testing.assert_close(padded[:, :3], Border("globe", {1: 0.5}).pad(lr, (4, 2)))
    torch.testing.assert_close(padded[:, 21:], Border("globe").pad(frames[:, 21:], (4, 2)))


def test_poles_are_mirrored_where_half_a_circle_is_no_number_of_lr_columns(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lat, lon = 90 - (np.arange(24) + 0.5) * 7.5, np.arange(50) * 7.2
    values = np.random.default_rng(0).random((12, 24, 50))
    coords = {"lat": lat, "lon": lon}
    xarray.Dataset({"t": (("time", "lat", "lon"), values)}, coords).to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    with caplog.at_level("INFO"):
        assert data_of(tmp_path / "a.nc", "t").border.periodic == "x"
    assert "rows are mirrored at the poles: 25 LR columns are odd" in caplog.text
    with pytest.raises(UserError, match="LR frames have 25 columns, which is odd; type data.periodic=x"):
        data_of(tmp_path / "a.nc", "t", periodic="globe")
    with caplog.at_level("INFO"):
        assert data_of(write(tmp_path / "b.nc"), "t", inputs=["position"]).border.periodic == "none"
    assert "frames are mirrored at their borders, as data.inputs=[position] says where these are" in caplog.text
    with pytest.raises(UserError, match=r"data.periodic=x: with data.inputs=\[position\]"):
        data_of(tmp_path / "b.nc", "t", inputs=["position"], periodic="x")


@pytest.mark.parametrize("symmetry", SYMMETRIES)
@pytest.mark.parametrize("north_up", [False, True])
def test_a_vector_points_to_the_same_pixel_after_a_symmetry(symmetry: str, north_up: bool) -> None:
    # A vector of one pixel length, from a marked pixel to the next.
    for u, v in ((1, 0), (0, 1), (-1, 0), (0, -1)):
        frames = torch.zeros(1, 4, 7, 7)  # the pixel, the pixel it points to, v, u
        frames[0, 0, 2, 4] = 1
        frames[0, 1, 2 + (-v if north_up else v), 4 + u] = 1
        frames[0, 2:, 2, 4] = torch.tensor([float(v), float(u)])
        turned = turn_vectors(symmetry, apply_symmetry(symmetry, frames), ((3, 2),), north_up)[0]
        (y, x), (to_y, to_x) = turned[0].nonzero()[0].tolist(), turned[1].nonzero()[0].tolist()
        found = (turned[3, y, x].item(), turned[2, y, x].item() * (-1 if north_up else 1))
        assert found == (to_x - x, to_y - y)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (
            {"periodic": "x", "columns": slice(0, 40)},
            "longitudes do not go round the globe; type data.periodic=none",
        ),
        (
            {"periodic": "globe", "rows": slice(0, 20)},
            "but rows do not end half a pixel before both poles; .*periodic=x",
        ),
        (
            {"periodic": "y"},
            "=y: its longitudes go round the globe, and latitudes end at the poles",
        ),
        ({"vectors": [["u", "w"]]}, r"data.vectors=\[\[u,w\]\]: w is none of the variables; known: t, u, v"),
        ({"vectors": [["u"]]}, r"data.vectors=\[\[u\]\]: a vector has two components of its own; type data.vectors=\[\[u,v\]\]"),
        ({"vectors": [["u", "v"], ["v", "t"]]}, "a vector has two components of its own"),
        ({"vectors": [["u", "v"]], "variable": "t"}, r"u is none of the variables; type data.variable=\[u,v\]"),
    ],
)
def test_what_is_no_globe_is_refused(tmp_path: Path, keys: dict[str, Any], said: str) -> None:
    parts = {key: keys.pop(key) for key in ("rows", "columns") if key in keys}
    path = write(tmp_path / "a.nc", **parts)
    with pytest.raises(UserError, match=said):
        data_of(path, **keys)


def test_an_input_that_does_not_go_round_is_refused(tmp_path: Path) -> None:
    keys = [f"data.path={write(tmp_path / 'a.nc')}", "data.variable=t", "model=fsrcnn_s", "recipe.steps=2", "recipe.patch=8"]
    train_here(tmp_path / "run", ["data=climate", *keys, "epochs=1", "data.periodic=none"])
    best = tmp_path / "run/checkpoints/best.ckpt"
    part = write(tmp_path / "part.nc", columns=slice(0, 16))
    with pytest.raises(UserError, match="periodic=x: its longitudes do not go round the globe; type periodic=none"):
        upscale_here([f"checkpoint={best}", f"input={part}", "variable=t", "periodic=x"])
    assert not (tmp_path / "part_x2.nc").exists()
