"""docs/guides/earth-fields.md from top to bottom, typed as it stands there, on a small global file with orography and a mask."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from tests.fakes import ROOT, evaluate_here, train_here, upscale_here

xarray = pytest.importorskip("xarray")
pytest.importorskip("h5netcdf")
PAGE = ROOT / "docs" / "guides" / "earth-fields.md"
BLOCKS = [block.split("\n") for block in re.findall(r"```\n(vsr train .*?)\n```", PAGE.read_text(encoding="utf-8"), re.DOTALL)]
SMALL = ["budget=null", "model.width=4", "model.blocks=1"]
QUICK = ["recipe.patch=8", "recipe.steps=2", "epochs=1", "recipe.batch=2"]


def write_files(folder: Path, scale: int) -> None:
    """Write era5.nc, orography.nc and mask.nc on one global grid, and coarse.nc with the block means of era5.nc."""
    rng = np.random.default_rng(0)
    lat, lon = np.linspace(87.1875, -87.1875, 32), np.arange(0, 360, 5.625)
    times = np.datetime64("2020-06-01") + np.arange(20) * np.timedelta64(1, "h")
    coords = {"time": times.astype("datetime64[ns]"), "lat": ("lat", lat, {"units": "degrees_north"})}
    coords |= {"lon": ("lon", lon, {"units": "degrees_east"})}
    waves = rng.standard_normal((20, 32, 64)).cumsum(0).cumsum(1).cumsum(2) / 40
    fields = {
        "t": (280 + waves, "K"),
        "q": (0.005 * np.exp(waves / waves.std()), "kg kg-1"),
        "t2m": (285 + waves, "K"),
        "sp": (1e5 - 100 * waves, "Pa"),
    }
    era5 = xarray.Dataset({name: (("time", "lat", "lon"), of, {"units": unit}) for name, (of, unit) in fields.items()}, coords)
    era5.to_netcdf(folder / "era5.nc", engine="h5netcdf")
    place = {name: coords[name] for name in ("lat", "lon")}
    for file, name, values in (("orography", "z", waves[0] * 500), ("mask", "lsm", (waves[1] > 0).astype(float))):
        xarray.Dataset({name: (("lat", "lon"), values)}, place).to_netcdf(folder / f"{file}.nc", engine="h5netcdf")
    coarse = era5.coarsen(lat=scale, lon=scale).mean()
    for axis in ("lat", "lon"):
        coarse[axis].attrs = era5[axis].attrs
    coarse.to_netcdf(folder / "coarse.nc", engine="h5netcdf")


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block[0].split("data.path=era5.nc")[1][:30])
def test_the_commands_of_the_page_run_one_after_the_other(
    block: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scale = 4 if "scale=4" in block[0] else 2
    write_files(tmp_path, scale)
    monkeypatch.chdir(tmp_path)
    checkpoint = tmp_path / "run" / "checkpoints" / "best.ckpt"
    for line in block:
        command, *overrides = shlex.split(line)[1:]
        typed = [text.replace("runs/.../best.ckpt", str(checkpoint)) for text in overrides]
        if command == "train":
            results = train_here(tmp_path / "run", [*typed, *QUICK, *(SMALL if "preset=balanced" in typed else [])])
            assert any(row["method"] == "linear" for row in results["rows"])
        elif command == "evaluate":
            found = evaluate_here(tmp_path / "scores", [*typed, "report=true"])
            assert {row.get("variable") for row in found["rows"]} >= {"t", "q"}
            assert (tmp_path / "scores" / "report.html").is_file()
        else:
            with xarray.open_dataset(upscale_here(typed)) as made, xarray.open_dataset("era5.nc") as era5:
                for name, values in made.data_vars.items():
                    assert (values.sizes["lat"], values.sizes["lon"]) == (32, 64)
                    assert values.attrs["units"] == era5[name].attrs["units"]
                    np.testing.assert_allclose(values.lon, era5.lon, atol=1e-3)
                assert made.q.min() > 0 if "log" in block[0] else set(made) & {"q", "t2m"}


def test_every_block_of_commands_is_run() -> None:
    assert len(BLOCKS) == 4
    assert [line.split()[1] for block in BLOCKS for line in block].count("upscale") == 4
