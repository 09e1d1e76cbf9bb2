"""Movies whose values float32 cannot tell apart: a large offset, the range of float32, and what becomes of it in outputs."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import vsr
from tests.fakes import assert_same_scores, evaluate_here, train_here, upscale_here
from vsr.__main__ import main
from vsr.data.datamodules.climate import ClimateDataModule
from vsr.data.file_movies import file_movies, offset_for_range, set_common_offset
from vsr.degradations import Bicubic
from vsr.errors import UserError
from vsr.inference.export.checkpoint import export_checkpoint
from vsr.io.readers.open import open_movie
from vsr.recipe import Recipe

QUICK = ["model=fsrcnn_s", "data=climate", "data.axes=tyx", "epochs=1", "recipe.steps=3", "recipe.patch=8"]
PRESSURE = 101325.0


def waves(frames: int = 16, height: int = 24, width: int = 28) -> np.ndarray:
    """Return smooth float64 fields between -0.01 and 0.01."""
    t, y, x = np.meshgrid(np.arange(frames), np.arange(height), np.arange(width), indexing="ij")
    return 0.005 * (np.sin(0.5 * y + 0.3 * t) + np.cos(0.4 * x - 0.2 * t))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of two runs on the same field: without an offset, and with the pressure of the air."""
    folder = tmp_path_factory.mktemp("offset")
    for name, offset in (("anomaly", 0.0), ("pressure", PRESSURE)):
        np.save(folder / f"{name}.npy", offset + waves())
        train_here(folder / name, [*QUICK, f"data.path={folder}/{name}.npy"])
    return {name: folder / name for name in ("anomaly", "pressure")}


def scores(folder: Path) -> dict[str, float]:
    rows = json.loads((folder / "results.json").read_text())["rows"]
    return {row["method"]: row["psnr"] for row in rows}


def test_an_offset_changes_no_score(runs: dict[str, Path]) -> None:
    anomaly, pressure = scores(runs["anomaly"]), scores(runs["pressure"])
    assert anomaly.keys() == pressure.keys()
    assert pressure == pytest.approx(anomaly, abs=1e-3)
    card = torch.load(runs["pressure"] / "checkpoints" / "best.ckpt", weights_only=True)["vsr"]["data"]
    assert abs(card["offset"] - PRESSURE) < 0.01
    assert card["bounds"][0] == pytest.approx(PRESSURE + waves()[:11].min(), abs=1e-8)


def test_evaluate_repeats_the_scores_of_the_run(runs: dict[str, Path], tmp_path: Path) -> None:
    for name, folder in runs.items():
        found = evaluate_here(tmp_path / name, [f"checkpoint={folder}/checkpoints/best.ckpt"])["rows"]
        assert_same_scores(found, json.loads((folder / "results.json").read_text())["rows"])


@pytest.mark.parametrize("ending", [".npy", ".npz", ".h5", ".nc", ".mat", ".zarr", ".tif"])
def test_upscaled_values_keep_the_digits_and_the_type(runs: dict[str, Path], tmp_path: Path, ending: str) -> None:
    lr = PRESSURE + waves()[:5, ::2, ::2]
    np.save(tmp_path / "lr.npy", lr)
    upscale_here(
        [f"checkpoint={runs['pressure']}", f"input={tmp_path}/lr.npy", "axes=tyx", f"output={tmp_path}/sr{ending}", "guard=off"]
    )
    movie = open_movie(tmp_path / f"sr{ending}", variable=None, axes="tyx")
    assert movie.reader.listing().variables[0].dtype == "float64"
    sr = movie.read(0, 0, 5, dtype=np.float64)[0]
    expected = vsr.load(runs["anomaly"]).upscale(lr - PRESSURE)
    np.testing.assert_allclose(sr - PRESSURE, expected, atol=1e-6)
    assert np.unique(sr).size > 1000


def test_arrays_in_memory_keep_the_digits_and_the_type(runs: dict[str, Path]) -> None:
    network, lr = vsr.load(runs["pressure"]), PRESSURE + waves()[:5, ::2, ::2]
    expected = vsr.load(runs["anomaly"]).upscale(lr - PRESSURE)
    for given_, dtype in ((lr, np.float64), (torch.from_numpy(lr), torch.float64)):
        sr = network.upscale(given_)
        assert sr.dtype == dtype
        np.testing.assert_allclose(np.asarray(sr) - PRESSURE, expected, atol=1e-6)
    assert network.upscale(lr.astype(np.float32)).dtype == np.float32
    assert network.upscale(torch.from_numpy(lr).to(torch.bfloat16)).dtype == torch.float32
    assert network.upscale(np.full((4, 4), 101325, np.int32)).dtype == np.float64
    xarray = pytest.importorskip("xarray")
    array = xarray.DataArray(lr, dims=["time", "y", "x"])
    finer = network.upscale(array)
    assert finer.dtype == np.float64
    np.testing.assert_allclose(finer.values - PRESSURE, expected, atol=1e-6)
    with pytest.raises(UserError, match=r"values up to 1e\+60 are beyond the range of float32"):
        network.upscale(np.full((4, 4), 1e60))


def test_fit_takes_a_float64_array_as_it_is(tmp_path: Path) -> None:
    run = vsr.fit("fsrcnn_s", PRESSURE + waves(), epochs=1, recipe={"steps": 3, "patch": 8}, folder=tmp_path / "run")
    sr = run.upscale(PRESSURE + waves()[:2])
    assert np.ptp(sr) > 0.01
    assert np.unique(sr).size > 1000


def test_an_exported_network_says_its_offset(runs: dict[str, Path], tmp_path: Path) -> None:
    report = export_checkpoint(runs["pressure"], "safetensors", tmp_path / "net.safetensors")
    offset = json.loads(report.facts["offset"])
    assert abs(offset - PRESSURE) < 0.01
    assert json.loads(report.facts["bounds"])[0] > PRESSURE - 0.02


def test_declared_bounds_are_physical(tmp_path: Path) -> None:
    np.save(tmp_path / "p.npy", PRESSURE + waves())
    given_ = [f"data.path={tmp_path}/p.npy", "data.bounds=[101324.98,101325.02]"]
    train_here(tmp_path / "run", [*QUICK, *given_])
    row = next(r for r in json.loads((tmp_path / "run" / "results.json").read_text())["rows"] if r["method"] == "bicubic")
    np.save(tmp_path / "a.npy", waves())
    train_here(tmp_path / "other", [*QUICK, f"data.path={tmp_path}/a.npy", "data.bounds=[-0.02,0.02]"])
    other = next(r for r in json.loads((tmp_path / "other" / "results.json").read_text())["rows"] if r["method"] == "bicubic")
    assert row["psnr"] == pytest.approx(other["psnr"], abs=1e-3)
    with pytest.raises(UserError, match=r"the training frames, 101324\.99\d* to 101325\.01\d*, fill 0\.2 % of it"):
        train_here(tmp_path / "wide", [*QUICK, given_[0], "data.bounds=[101320,101330]"])


def test_values_beyond_float32_are_refused_as_such(tmp_path: Path) -> None:
    np.save(tmp_path / "large.npy", 1e60 * (1 + waves()))
    with pytest.raises(UserError, match=r"values up to 1\.01e\+60 .*beyond the range of float32.*give other units"):
        train_here(tmp_path / "run", [*QUICK, f"data.path={tmp_path}/large.npy"])
    np.save(tmp_path / "small.npy", 1e-60 * (1 + waves()))
    with pytest.raises(UserError, match=r"differ by 2e-62, less than float32 can tell"):
        train_here(tmp_path / "run", [*QUICK, f"data.path={tmp_path}/small.npy"])


def test_only_a_constant_field_is_called_constant(tmp_path: Path) -> None:
    np.save(tmp_path / "constant.npy", np.full((16, 24, 24), 1e8 + 0.25))
    with pytest.raises(UserError, match=r"every value is 100000000(\.25)?; a constant field"):
        train_here(tmp_path / "run", [*QUICK, f"data.path={tmp_path}/constant.npy"])
    np.save(tmp_path / "nearly.npy", 1e8 + 20 * waves())
    rows = train_here(tmp_path / "near", [*QUICK, f"data.path={tmp_path}/nearly.npy"])["rows"]
    assert all(np.isfinite(row["psnr"]) for row in rows)


def test_missing_values_stay_missing_beside_an_offset(tmp_path: Path) -> None:
    values = PRESSURE + waves()
    values[:, 3:6, 4:9] = np.nan
    np.save(tmp_path / "p.npy", values)
    (movie,) = file_movies(str(tmp_path / "p.npy"), None, "tyx", None, None, None, 2**40)
    offset = set_common_offset([movie])
    frames = movie.read(0, 16).numpy()[0]
    np.testing.assert_array_equal(np.isnan(frames), np.isnan(values))
    np.testing.assert_allclose(frames + np.float64(offset), values, atol=1e-8)


def test_stored_integers_with_an_offset_are_upscaled_to_float64(runs: dict[str, Path], tmp_path: Path) -> None:
    with h5py.File(tmp_path / "lr.h5", "w") as file:
        stored = file.create_dataset("p", data=np.round(waves()[:4, ::2, ::2] * 1e6).astype(np.int16))
        stored.attrs["scale_factor"], stored.attrs["add_offset"] = 1e-6, PRESSURE
    upscale_here([f"checkpoint={runs['pressure']}", f"input={tmp_path}/lr.h5", "axes=tyx", "guard=off"])
    with h5py.File(tmp_path / "lr_x2.h5") as file:
        assert file["p"].dtype == np.float64
        assert np.unique(file["p"][...]).size > 1000


def test_a_span_of_frames_leaves_out_the_spin_up(tmp_path: Path) -> None:
    np.save(tmp_path / "h.npy", waves(30).astype(np.float32))
    run = train_here(tmp_path / "run", [*QUICK, f"data.path={tmp_path}/h.npy", "data.frames=[10,26]"])
    np.save(tmp_path / "part.npy", waves(30)[10:26].astype(np.float32))
    other = train_here(tmp_path / "other", [*QUICK, f"data.path={tmp_path}/part.npy"])
    timeless = [[{key: x for key, x in row.items() if key != "train_seconds"} for row in found["rows"]] for found in (run, other)]
    assert timeless[0] == timeless[1]
    assert run["protocol"]["data"]["frames"] == other["protocol"]["data"]["frames"]
    with pytest.raises(UserError, match="the frames 10 to 39 are asked for, it has 30"):
        train_here(tmp_path / "long", [*QUICK, f"data.path={tmp_path}/h.npy", "data.frames=[10,40]"])


def test_inspect_shows_the_digits_that_differ(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "p.npy", PRESSURE + waves())
    main(["inspect", str(tmp_path / "p.npy"), "--axes", "tyx"])
    assert "min 101324.99" in capsys.readouterr().out


def test_a_value_outside_the_training_range_is_named_in_physical_units(
    runs: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    np.save(tmp_path / "lr.npy", PRESSURE + 5 + waves()[:3])
    with caplog.at_level(logging.WARNING):
        upscale_here([f"checkpoint={runs['pressure']}", f"input={tmp_path}/lr.npy", "axes=tyx", "guard=off"])
    assert "values from 101329.99" in caplog.text
    assert "trained on 101324.99" in caplog.text


@given(st.floats(-1e9, 1e9), st.floats(1e-3, 1e3))
def test_float32_holds_what_an_offset_leaves(middle: float, spread: float) -> None:
    low, high = middle - spread / 2, middle + spread / 2
    offset = offset_for_range(low, high)
    largest = max(abs(low - offset), abs(high - offset))
    assert np.spacing(np.float32(largest)) <= 1e-5 * (high - low)
    if max(abs(low), abs(high)) < 100 * (high - low):
        assert offset == 0


@pytest.mark.parametrize(
    ("kind", "step"),
    [("packed", 0.01), ("i2", 1.0), ("f2", 0.25), ("f4", 2.0**-15), ("f8", 2.0**-15)],  # frames are float32
)
def test_the_step_of_stored_values_is_known(kind: str, step: float, tmp_path: Path) -> None:
    values = np.round(295 + 15 * np.sin(np.arange(16 * 24 * 28) / 7).reshape(16, 24, 28), 2)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        stored = np.round((values - 290) / 0.01).astype("i2") if kind == "packed" else values.astype(kind)
        file["t"] = stored
        if kind == "packed":
            file["t"].attrs.update(scale_factor=0.01, add_offset=290.0)
    data = ClimateDataModule(path=str(tmp_path / "a.h5"), axes="tyx", scale=2, degradation=Bicubic(), recipe=Recipe(patch=6))
    data.setup()
    assert data.rounding_steps == pytest.approx([step])
