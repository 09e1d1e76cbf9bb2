"""Several variables as channels: a range for each, by name, from the file to the output."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import h5py
import numpy as np
import pytest
import torch

import vsr
from tests.fakes import assert_same_scores, compose_config, evaluate_here, train_here, upscale_here
from vsr.config.check import check_config
from vsr.config.schema import UpscaleSchema
from vsr.data.base import SRDataModule
from vsr.data.datamodules.climate import ClimateDataModule
from vsr.data.datamodules.cross import CrossDataModule
from vsr.degradations.chain import Chain
from vsr.degradations.compression import JPEG
from vsr.degradations.noise import GaussianNoise
from vsr.degradations.resize import resize_bicubic_down
from vsr.degradations.scaling import Bicubic
from vsr.errors import UserError
from vsr.evaluation.compare.runs import read_compared_run
from vsr.evaluation.compare.table import build_comparison_table, comparison_table_csv, comparison_table_markdown
from vsr.evaluation.report.figures import panels_figure
from vsr.inference.export.checkpoint import export_checkpoint
from vsr.inference.inputs import check_upscale_files
from vsr.inference.trained import read_trained
from vsr.io.readers.open import open_movie
from vsr.metrics.headline import headline_table
from vsr.models.normalize import Normalizer
from vsr.recipe import Recipe
from vsr.training.build import build_module

QUICK = ["model=fsrcnn_s", "epochs=1", "recipe.steps=3", "recipe.patch=8"]


def fields(frames: int = 16, height: int = 24, width: int = 28) -> dict[str, np.ndarray]:
    """Return a temperature (K), a specific humidity (kg/kg) and a pressure (Pa) that float32 holds to a few digits only."""
    t, y, x = np.meshgrid(np.arange(frames), np.arange(height), np.arange(width), indexing="ij")
    return {
        "t": 280 + 15 * np.sin(0.5 * y + 0.3 * t) + 5 * np.cos(0.9 * x),
        "q": 0.005 + 0.004 * np.cos(0.4 * x - 0.2 * t) * np.sin(0.8 * y),
        "p": 101325 + 0.02 * np.sin(0.6 * x + 0.1 * t) * np.cos(0.5 * y),
    }


UNITS = {"t": "K", "q": "kg/kg", "p": "Pa"}


def write(path: Path, values: dict[str, np.ndarray]) -> Path:
    """Write arrays as a file of the format that the name of the file ends in."""
    if path.suffix == ".npz":
        np.savez(path, **values)
    elif path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            for name, array in values.items():
                file[name] = array
                file[name].attrs["units"] = UNITS[name]
    elif path.suffix == ".mat":
        pytest.importorskip("scipy.io").savemat(path, values)
    else:
        xarray = pytest.importorskip("xarray")
        made = {name: (("time", "y", "x"), array, {"units": UNITS[name]}) for name, array in values.items()}
        xarray.Dataset(made).to_netcdf(path, engine="h5netcdf")
    return path


def data_of(path: Path, variable: Any = ("t", "q"), axes: str = "tyx", degradation: Any = None, **more: Any) -> SRDataModule:
    names = list(variable) if isinstance(variable, tuple) else variable
    common = {"scale": 2, "degradation": degradation or Bicubic(), "recipe": Recipe(patch=8)}
    data = ClimateDataModule(path=str(path), variable=names, axes=axes, **common, **more)
    data.setup()
    return data


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of two runs: of t and q, and of p and q, whose offsets differ."""
    folder = tmp_path_factory.mktemp("variables")
    for name in ("tq", "pq"):
        write(folder / f"{name}.h5", {key: fields()[key] for key in name})
        given = [f"data.path={folder}/{name}.h5", "data.axes=tyx", f"data.variable=[{name[0]},{name[1]}]"]
        train_here(folder / name, [*QUICK, "data=climate", *given])
    return {name: folder / name / "checkpoints" / "best.ckpt" for name in ("tq", "pq")}


@pytest.mark.parametrize("ending", [".h5", ".npz", ".nc", ".mat"])
def test_every_variable_has_the_range_of_its_training_frames(tmp_path: Path, ending: str) -> None:
    values = {name: fields()[name] for name in ("q", "t")}
    if ending == ".mat":
        values = {name: array.transpose(1, 2, 0) for name, array in values.items()}
    data = data_of(write(tmp_path / f"a{ending}", values), axes="yxt" if ending == ".mat" else "tyx")
    train = fields()
    count = data.card["frames"]["train"]
    ranges = [[train[name][:count].min(), train[name][:count].max()] for name in ("t", "q")]
    np.testing.assert_allclose(data.card["bounds"], ranges, rtol=1e-6)
    assert data.card["variables"] == ["t", "q"]
    assert data.card["offset"] == 0.0


def test_bounds_are_given_by_name_and_the_others_are_measured(tmp_path: Path) -> None:
    path = write(tmp_path / "a.npz", fields())
    data = data_of(path, bounds={"q": [0, 0.02]})
    low, _ = data.card["bounds"][0]
    assert data.card["bounds"][1] == [0.0, 0.02]
    assert low == pytest.approx(fields()["t"][:9].min(), rel=1e-6)
    assert data_of(path, bounds={"q": [0, 0.02], "t": [230, 310]}).bounds == ((230.0, 310.0), (0.0, 0.02))
    assert data_of(path, "t", bounds=[200, 300]).card["bounds"] == [200.0, 300.0]
    assert "variables" not in data_of(path, "t", bounds=[200, 300]).card
    for given, said in (
        ({"h": [0, 1]}, r"data.bounds=\{h: \.\.\.\}: no such variable; known: q, t"),
        ({"q": [5, 6]}, r"q: data.bounds=\{q: \[5,6\]\}: the training frames, 0\.001\d* to 0\.00\d*, lie outside of it"),
        ([200, 300], r"q: data.bounds=\{q: \[200,300\]\}: the training frames, .*, lie outside of it"),
        ({"q": [6, 5]}, r"q: data.bounds=\{q: \[6,5\]\}: must be two values, the smaller first"),
    ):
        with pytest.raises(UserError, match=said):
            data_of(path, bounds=given)
    config = compose_config("train", ["data=climate", f"data.path={path}", "data.bounds={q: 5}"])
    with pytest.raises(UserError, match=r"data\.bounds"):
        check_config(config)


def test_what_cannot_have_a_range_is_refused_by_name(tmp_path: Path) -> None:
    values = fields()
    path = write(tmp_path / "a.npz", {"t": values["t"], "q": np.full_like(values["q"], 0.25)})
    with pytest.raises(UserError, match=r"every value of q is 0\.25; a constant field cannot be learned from"):
        data_of(path)
    write(tmp_path / "b.npz", {"t": values["t"], "q": np.full_like(values["q"], np.nan)})
    with pytest.raises(UserError, match=r"q has no finite value in the training frames"):
        data_of(tmp_path / "b.npz", mask=True)
    write(tmp_path / "c.npz", {"t": values["t"], "q": values["q"][:, ::2]})
    with pytest.raises(UserError, match=r"q is 16x12x28, t is 16x24x28; variables that become channels must be alike"):
        data_of(tmp_path / "c.npz")


def test_channels_of_one_array_that_hardly_count_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    np.save(tmp_path / "a.npy", np.stack([fields()["t"], fields()["q"]], axis=1))
    data = data_of(tmp_path / "a.npy", None, "tcyx")
    assert np.shape(data.bounds) == (2,)
    assert "channel 1, 0.001" in caplog.text
    assert "hardly counts in the range of all channels" in caplog.text


def test_noise_is_a_share_of_the_range_of_each_variable(tmp_path: Path) -> None:
    path = write(tmp_path / "a.npz", fields())
    clean, noisy = (
        data_of(path, degradation=Chain(steps={"down": Bicubic(), **noise})) for noise in ({}, {"noise": GaussianNoise(0.1)})
    )
    difference = next(noisy.sets["train"].pairs()).lr - next(clean.sets["train"].pairs()).lr
    for channel, (low, high) in enumerate(clean.card["bounds"]):
        assert float(difference[:, channel].std()) == pytest.approx(0.1 * (high - low), rel=0.1)


def test_codes_of_jpeg_span_the_range_of_each_variable(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    path = write(tmp_path / "a.npz", fields())
    names = ("t", "q", "p")
    clean, coded = (
        data_of(path, names, degradation=Chain(steps={"down": Bicubic(), **jpeg})) for jpeg in ({}, {"jpeg": JPEG(95)})
    )
    before, after = (next(data.sets["train"].pairs()).lr for data in (clean, coded))
    offsets = np.broadcast_to(clean.card["offset"], 3)
    for channel, (low, high) in enumerate(np.subtract(clean.card["bounds"], offsets[:, None])):
        codes = (after[:, channel].numpy() - low) / (high - low) * 255
        np.testing.assert_allclose(codes, codes.round(), atol=1e-2)
        assert float((after - before)[:, channel].square().mean().sqrt()) < 0.02 * (high - low)


def rows_of(found: list[dict[str, Any]], method: str = "bicubic") -> dict[str, dict[str, Any]]:
    return {row["variable"]: row for row in found if row["method"] == method}


def test_a_variable_has_the_scores_that_it_has_alone(runs: dict[str, Path], tmp_path: Path) -> None:
    trained = json.loads((runs["tq"].parent.parent / "results.json").read_text())["rows"]
    evaluated = evaluate_here(tmp_path / "evaluated", [f"checkpoint={runs['tq']}"])["rows"]
    assert_same_scores(evaluated, trained)
    own = rows_of(evaluated)
    assert {name: row["unit"] for name, row in own.items()} == {"t": "K", "q": "kg/kg", "all variables": ""}
    path = write(tmp_path / "q.npz", {"q": fields()["q"]})
    alone = train_here(tmp_path / "q", [*QUICK, "model=bicubic", "data=climate", f"data.path={path}", "data.axes=tyx"])
    [single] = [row for row in alone["rows"] if row["method"] == "bicubic"]
    assert "variable" not in single
    for key in ("mae", "mse", "psnr", "ssim", "change_error", "flicker"):
        assert own["q"][key] == pytest.approx(single[key], rel=1e-6), key


def test_scores_of_each_variable_are_those_of_plain_numpy(runs: dict[str, Path], tmp_path: Path) -> None:
    rows = evaluate_here(tmp_path, [f"checkpoint={runs['pq']}"])["rows"]
    network = vsr.load(runs["pq"], device="cpu")
    hr = np.stack([fields()[name][11:] for name in "pq"], axis=1)  # the last 5 of 16 frames are the test
    offset, (height, width) = np.reshape(network.offset, (-1, 1, 1)), hr.shape[-2:]
    lr = resize_bicubic_down(torch.from_numpy((hr - offset).astype(np.float32)), 2).numpy().astype(np.float64) + offset
    cut = (..., *(slice(n, size - n) for n, size in zip(network.config.window[1:], (height, width), strict=True)))
    low, high = np.moveaxis(np.array(network.bounds), 1, 0)[..., None, None]
    error = ((network.upscale(lr) - hr) / (high - low))[cut]
    mse = (error**2).mean((2, 3))
    own = rows_of(rows, "fsrcnn_s")
    for channel, name in enumerate("pq"):
        assert own[name]["psnr"] == pytest.approx(-10 * np.log10(mse[:, channel]).mean(), abs=1e-2)
        rmse = np.sqrt(mse[:, channel]).mean() * (high - low)[channel, 0, 0]
        assert own[name]["rmse"] == pytest.approx(rmse, rel=1e-3)
    overall = own["all variables"]
    assert overall["mse"] == pytest.approx(mse.mean(), rel=1e-3)
    assert overall["psnr"] == pytest.approx(-10 * np.log10(mse.mean(1)).mean(), abs=1e-2)
    assert overall["skill_bicubic"] == pytest.approx(1 - overall["mse"] / rows_of(rows)["all variables"]["mse"], rel=1e-6)
    assert overall["rmse"] is None


def test_tensorboard_has_an_image_of_each_variable_with_its_unit(runs: dict[str, Path]) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(runs["tq"].parents[1])).Reload()
    assert events.Tags()["images"] == ["val: t (K)", "val: q (kg/kg)"]


def test_the_best_epoch_is_that_of_all_variables_together(runs: dict[str, Path]) -> None:
    results = json.loads((runs["tq"].parent.parent / "results.json").read_text())
    content = torch.load(runs["tq"], weights_only=True)
    assert max(row["val/psnr"] for row in results["history"]) > 15
    network = vsr.load(runs["tq"], device="cpu")
    data = data_of(runs["tq"].parents[2] / "tq.h5")
    clip = data.sets["val"].clip(0, len(data.sets["val"]))
    with torch.no_grad():
        sr, truth = network.module.predict_clip(clip), network.module.normalizer(clip.hr)
    _, y, x = network.config.window
    mse = (sr - truth)[..., y : truth.shape[-2] - y, x : truth.shape[-1] - x].square().mean((0, 1, 3, 4))
    best = next(row for row in results["history"] if row["epoch"] == content["epoch"] + 1)
    assert best["val/mse"] == pytest.approx(float(mse.mean()), rel=1e-3)


@pytest.mark.parametrize("report", [False, pytest.param(True, marks=pytest.mark.long)])
def test_tables_and_files_have_a_block_for_each_variable(runs: dict[str, Path], tmp_path: Path, report: bool) -> None:
    with mock.patch("vsr.evaluation.report.write.panels_figure", wraps=panels_figure) as drawn:
        evaluate_here(tmp_path, [f"checkpoint={runs['tq']}", f"report={report}"])
    with (tmp_path / "frames.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    [row] = [row for row in json.loads((tmp_path / "results.json").read_text())["rows"] if row["method"] == "linear"][1:2]
    assert row["variable"] == "q"
    own = [float(line["psnr"]) for line in lines if (line["variable"], line["method"]) == ("q", "linear")]
    assert np.mean(own) == pytest.approx(row["psnr"], rel=1e-12)
    for name in ("table.md", "table.tex", *(["report.html"] if report else [])):
        text = (tmp_path / name).read_text()
        assert all(part in text for part in ("test: t (K)", "test: q (kg/kg)", "test: all variables"))
    if report:
        card = torch.load(runs["tq"], weights_only=True)["vsr"]["data"]
        samples = [call.args[0] for call in drawn.call_args_list]
        assert [(list(one.bounds), one.unit, one.axes) for one in samples] == [
            (card["bounds"][0], "K", None),
            (card["bounds"][1], "kg/kg", None),
        ]
        figures = {path.name for path in (tmp_path / "figures").iterdir()}
        assert {"frame-test-t-K.png", "frame-test-q-kg-kg.png", "spectra-test-q-kg-kg.png"} <= figures
    run = read_compared_run(runs["tq"].parent.parent)
    table = build_comparison_table([run])
    assert table.splits == ("test: t (K)", "test: q (kg/kg)", "test: all variables")
    assert "Split test: q (kg/kg):" in comparison_table_markdown(table)
    compared = list(csv.DictReader(comparison_table_csv([run]).splitlines()))
    assert [line["variable"] for line in compared] == ["t", "q", "all variables"]
    printed = headline_table(run.results["rows"])
    assert printed.count("\n---") == 3
    assert "test: q (kg/kg)" in printed


def test_an_old_checkpoint_keeps_the_one_range_of_all_its_variables(runs: dict[str, Path], tmp_path: Path) -> None:
    content = torch.load(runs["tq"], weights_only=True)
    content["vsr"]["data"]["bounds"] = [0.0, 310.0]
    del content["vsr"]["data"]["variables"]
    content["state_dict"]["normalizer.low"], content["state_dict"]["normalizer.high"] = torch.tensor(0.0), torch.tensor(310.0)
    torch.save(content, tmp_path / "old.ckpt")
    network = vsr.load(tmp_path / "old.ckpt", device="cpu")
    assert network.bounds == (0.0, 310.0)
    lr = torch.rand(3, 2, 12, 14) * 300
    plain = network.module.network.fold().eval()
    with torch.inference_mode():
        expected = plain(lr / 310) * 310
    assert torch.equal(network.upscale(lr), expected)
    rows = evaluate_here(tmp_path / "old", [f"checkpoint={tmp_path}/old.ckpt"])["rows"]
    assert rows_of(rows)["q"]["psnr"] > 80  # in the range of the temperature
    assert Normalizer(0.0, 310.0).state_dict()["low"].shape == ()


def swapped(folder: Path, ending: str, names: str = "qt") -> Path:
    """Write LR frames with the variables in another order than in training."""
    return write(folder / f"lr{ending}", {name: fields()[name][:4, ::2, ::2] for name in names})


@pytest.mark.parametrize("ending", [".h5", ".npz", ".nc"])
@pytest.mark.sampled(1)
def test_upscale_takes_the_variables_by_name(runs: dict[str, Path], tmp_path: Path, ending: str) -> None:
    lr = swapped(tmp_path, ending)
    check_upscale_files(UpscaleSchema(checkpoint=str(runs["tq"]), input=str(lr), axes="tyx"))  # before the network is read
    expected = vsr.load(runs["tq"]).upscale(np.stack([fields()[name][:4, ::2, ::2] for name in "tq"], axis=1))
    for number, typed in enumerate(([], ["variable=[q,t]"], ["variable=[t,q]"])):
        given = [f"checkpoint={runs['tq']}", f"input={lr}", "axes=tyx", "guard=off", *typed]
        upscale_here([*given, f"output={tmp_path}/sr{number}{ending}"])
        for channel, name in enumerate("tq"):
            movie = open_movie(tmp_path / f"sr{number}{ending}", variable=name, axes="tyx")
            np.testing.assert_allclose(movie.read(0, 0, 4)[0], expected[:, channel], rtol=1e-5)


@pytest.mark.parametrize("ending", [".h5", ".npz"])
def test_offsets_of_each_variable_come_back(runs: dict[str, Path], tmp_path: Path, ending: str) -> None:
    card = torch.load(runs["pq"], weights_only=True)["vsr"]["data"]
    assert card["offset"] == [pytest.approx(101325, abs=0.1), 0.0]
    lr = swapped(tmp_path, ending, names="qp")
    upscale_here([f"checkpoint={runs['pq']}", f"input={lr}", "axes=tyx", "guard=off", f"output={tmp_path}/sr{ending}"])
    network = vsr.load(runs["pq"])
    expected = network.upscale(np.stack([fields()[name][:4, ::2, ::2] for name in "pq"], axis=1))
    for channel, name in enumerate("pq"):
        movie = open_movie(tmp_path / f"sr{ending}", variable=name, axes="tyx")
        np.testing.assert_allclose(movie.read(0, 0, 4, dtype=np.float64)[0], expected[:, channel], rtol=1e-9)
    assert np.unique(expected[:, 0]).size > 500
    assert abs(expected[:, 0] - 101325).max() < 1


def test_other_variables_are_refused_and_channels_without_names_are_told(
    runs: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given = [f"checkpoint={runs['tq']}", "axes=tyx", "guard=off", f"output={tmp_path}/sr.h5"]
    lr = swapped(tmp_path, ".h5", names="qp")
    with pytest.raises(UserError, match=r"lr\.h5: has no t, and the network was trained on t, q; give a file with variables"):
        upscale_here([*given, f"input={lr}"])
    with pytest.raises(UserError, match=r"variable=\[q,p\]: has no t, and the network was trained on t, q"):
        upscale_here([*given, f"input={lr}", "variable=[q,p]"])
    np.save(tmp_path / "lr.npy", np.stack([fields()[name][:4, ::2, ::2] for name in "tq"], axis=1))
    with caplog.at_level("INFO"):
        upscale_here([given[0], "axes=tcyx", *given[2:], f"input={tmp_path}/lr.npy"])
    assert "lr.npy:lr have no names; they are taken as t, q, in this order" in caplog.text
    path = write(tmp_path / "other.h5", fields())
    others = [f"checkpoint={runs['tq']}", "data=climate", f"data.path={path}", "data.axes=tyx"]
    with pytest.raises(UserError, match=r"has the variables q, t, .* was trained on t,q; type data\.variable=\[t,q\]"):
        evaluate_here(tmp_path / "a", [*others, "data.variable=[q,t]"])


def test_values_outside_of_the_range_are_told_with_their_variable(
    runs: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    values = {"t": fields()["t"][:4, ::2, ::2], "q": 1000 * fields()["q"][:4, ::2, ::2]}
    write(tmp_path / "lr.h5", values)
    upscale_here([f"checkpoint={runs['tq']}", f"input={tmp_path}/lr.h5", "axes=tyx", "guard=off", f"output={tmp_path}/sr.h5"])
    assert "values of q from 1" in caplog.text
    assert "values of t" not in caplog.text


def test_labelled_arrays_are_taken_by_name(runs: dict[str, Path]) -> None:
    xarray = pytest.importorskip("xarray")
    network = vsr.load(runs["tq"])
    lr: Any = {name: fields()[name][:4, ::2, ::2] for name in "qt"}
    expected = network.upscale(np.stack([lr["t"], lr["q"]], axis=1))
    dataset = xarray.Dataset(
        {name: (("time", "y", "x"), array, {"units": UNITS[name]}) for name, array in lr.items()}, attrs={"title": "air"}
    )
    sr = network.upscale(dataset)
    assert sr.attrs == {"title": "air"}
    assert {name: sr[name].attrs["units"] for name in sr.data_vars} == {"t": "K", "q": "kg/kg"}
    stacked = network.upscale(dataset.to_array("channel"))
    assert stacked.channel.values.tolist() == ["q", "t"]
    for channel, name in enumerate("tq"):
        np.testing.assert_allclose(sr[name].values, expected[:, channel], rtol=1e-5)
        np.testing.assert_allclose(stacked.sel(channel=name).values, expected[:, channel], rtol=1e-5)
    with pytest.raises(UserError, match="variables q: this network was trained on t, q; rename them"):
        network.upscale(dataset.rename(t="temperature"))
    with pytest.raises(UserError, match="variables q, h: this network was trained on t, q"):
        network.upscale(dataset.to_array("channel").assign_coords(channel=["q", "h"]))


def test_values_of_another_source_are_mapped_for_each_variable(tmp_path: Path) -> None:
    """The other source has the same fields in degrees and in g/kg; its bounds say so."""
    values = fields()
    one = write(tmp_path / "a.npz", values)
    other = write(tmp_path / "b.npz", {"t": values["t"] - 273.15, "q": 1000 * values["q"]})
    common: dict[str, Any] = {"scale": 2, "degradation": Bicubic(), "recipe": Recipe(patch=8)}
    sources = [
        ClimateDataModule(path=str(path), variable=names, axes="tyx", bounds=bounds, **common)
        for path, names, bounds in (
            (one, ["t", "q"], {"t": (250, 310), "q": (0, 0.02)}),
            (other, ["t", "q"], {"t": (250 - 273.15, 310 - 273.15), "q": (0, 20)}),
            (other, ["q", "t"], None),
        )
    ]
    data = CrossDataModule(train=sources[0], test=sources[1], **common)
    data.setup()
    tests = {name: next(data.sets[name].pairs()).hr for name in ("own", "test")}
    np.testing.assert_allclose(tests["test"][:, 0], tests["own"][:, 0], atol=1e-3)
    np.testing.assert_allclose(tests["test"][:, 1], tests["own"][:, 1], atol=1e-7)
    with pytest.raises(UserError, match="t, q to learn from, q, t to test on; give both sources one data.variable"):
        CrossDataModule(train=sources[0], test=sources[2], **common)


def with_gaps(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return t and q where q alone has a gap, a block of columns."""
    q = values["q"].copy()
    q[..., :8] = np.nan
    return {"t": values["t"], "q": q}


def test_a_gap_of_one_variable_does_not_count_for_any_and_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path / "a.npz", with_gaps(fields()))
    with pytest.raises(UserError, match="hold NaN or infinite values"):
        data_of(path, mask=False)
    with caplog.at_level("INFO"):
        data = data_of(path)
    assert "a.npz: 29 % of the pixels are NaN in every frame and do not count" in caplog.text
    pair = next(data.sets["train"].pairs())
    assert pair.mask is not None
    np.testing.assert_array_equal(pair.mask[0, 0], np.isfinite(with_gaps(fields())["q"][0]))
    np.testing.assert_allclose(pair.hr[0, 0], fields()["t"][0], rtol=1e-6)  # what t has stays an input
    assert f"t: {100 * 8 / 28:.3g} % of its values do not count, as another variable has a gap there" in caplog.text
    assert data.card["bounds"][1][0] == pytest.approx(np.nanmin(with_gaps(fields())["q"][:9]), rel=1e-6)


@pytest.mark.parametrize("whole", [False, True])
def test_upscaled_values_are_missing_where_their_own_variable_is(runs: dict[str, Path], whole: bool) -> None:
    lr = {name: array[:4, ::2, ::2].copy() for name, array in with_gaps(fields()).items()}
    if whole:
        lr["q"][2] = np.nan
    sr = vsr.load(runs["tq"]).upscale(np.stack([lr["t"], lr["q"]], axis=1))
    gap = np.zeros((4, 24, 28), bool)
    gap[..., :8] = True
    gap[2] |= whole
    np.testing.assert_array_equal(np.isnan(sr[:, 1]), gap)
    np.testing.assert_array_equal(np.isnan(sr[:, 0]), np.broadcast_to([[[False]], [[False]], [[whole]], [[False]]], gap.shape))


@pytest.mark.parametrize("format_", [pytest.param("onnx", marks=pytest.mark.long), "torchscript"])
def test_exported_networks_have_a_range_for_each_variable(runs: dict[str, Path], tmp_path: Path, format_: Any) -> None:
    if format_ == "onnx":
        pytest.importorskip("onnxruntime")
    report = export_checkpoint(runs["pq"], format_, tmp_path / "a")
    assert json.loads(report.facts["variables"]) == ["p", "q"]
    assert np.shape(json.loads(report.facts["bounds"])) == (2, 2)
    assert json.loads(report.facts["units"]) == ["Pa", "kg/kg"]
    assert any(line.split() == ["channels", "p,", "q"] for line in report.lines)


def test_weights_of_the_loss_go_by_name(runs: dict[str, Path], tmp_path: Path) -> None:
    """The loss is the weighted mean of the losses of the variables, with all its terms and with gaps."""
    given = [*QUICK, "data=climate", f"data.path={runs['tq'].parents[2]}/tq.h5", "data.axes=tyx", "data.variable=[t,q]"]
    train_here(tmp_path / "a", [*given, "recipe.weights={q: 3}", "recipe.gradient=1"])
    module = read_trained(tmp_path / "a" / "checkpoints" / "best.ckpt").build_with(build_module)
    sr, hr = torch.rand(2, 4, 2, 1, 16, 16)
    for mask in (None, (torch.rand(4, 1, 1, 16, 16) > 0.2).float()):
        found = []
        for weights in ({"q": 3.0}, {"q": 1e-9}, {"t": 1e-9}, {"t": 2.0, "q": 2.0}, None):
            module.recipe = replace(module.recipe, weights=weights)
            with mock.patch.object(type(module), "finetuning", False):
                found.append(float(module.error(sr, hr, mask, module.network)))
        weighted, t, q, equal, plain = found
        assert weighted == pytest.approx((t + 3 * q) / 4, rel=1e-5)
        assert equal == pytest.approx(plain, rel=1e-5)
    with pytest.raises(UserError, match=r"recipe\.weights=\{r: \.\.\.\}: no such variable; known: q, t"):
        train_here(tmp_path / "b", [*given, "recipe.weights={r: 3}"])
    with pytest.raises(UserError, match=r"recipe\.weights=\{t: \.\.\.\}: no such variable, as the data have one"):
        train_here(tmp_path / "b", [*given, "data.variable=t", "recipe.weights={t: 3}"])
    with pytest.raises(UserError, match=r"recipe\.weights=\{q: 0\}: must be positive"):
        check_config(compose_config("train", [*given, "recipe.weights={q: 0}"]))
