"""The networks of the package: by name, without a name, for files and arrays of any unit; whole checkpoints in safetensors."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import vsr
import vsr.xarray
from tests.conftest import Script
from tests.fakes import TINY_CLIMATE, evaluate_here, moving_pattern, train_here, upscale_here, write_y4m
from vsr.commands.inspect import inspect_command
from vsr.commands.weights import weights_command
from vsr.errors import UserError
from vsr.inference.export.checkpoint import export_checkpoint
from vsr.models.weights.shipped import FOLDER, find_shipped, list_shipped, read_safetensors_header, shipped_for

xarray = pytest.importorskip("xarray")
NETWORKS = [found.name for found in list_shipped() if found.complete]
FIELDS = [name for name in NETWORKS if name.startswith("field")]


def field(frames: int = 3, height: int = 24, width: int = 30, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal((frames, height, width))
    return 280 + 5 * np.sin(noise.cumsum(1).cumsum(2) / 4)


@pytest.mark.parametrize("name", NETWORKS)
def test_each_network_is_a_checkpoint_with_a_card(name: str) -> None:
    network = vsr.load(f"pretrained:{name}")
    assert network.upscale(field()).shape == (3, 24 * network.scale, 30 * network.scale)
    text = (FOLDER / f"{name}.md").read_text(encoding="utf-8")
    header = read_safetensors_header(FOLDER / f"{name}.safetensors")
    assert header["summary"] in text
    assert header["data_sha256"][:16] in text
    assert "Limits:" in text


def test_fields_come_at_three_scales_and_pictures_at_one() -> None:
    assert FIELDS == ["field_x2", "field_x3", "field_x4", "field_area_x2", "field_area_x4"]
    assert [shipped_for("field", scale).stem for scale in (2, 3, 4)] == FIELDS[:3]
    assert shipped_for("film", 2).stem == "film_x2"
    with pytest.raises(UserError, match=r"no network of the package for films at x4 \(there is x2\); type checkpoint=FILE"):
        shipped_for("film", 4)


@pytest.mark.parametrize(
    ("methods", "kind"),
    [
        ("area: mean", "area"),
        ("area: time: mean", "area"),
        ("time: mean area: mean where land", "area"),
        ("time: mean", "field"),
        ("time: mean area: point", "field"),
        ("area: sum", "field"),
        (None, "field"),
    ],
)
def test_cell_methods_choose_the_network(
    methods: str | None, kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    attrs = {"units": "K"} if methods is None else {"units": "K", "cell_methods": methods}
    array = xarray.DataArray(field(), dims=["time", "lat", "lon"], name="t", attrs=attrs)
    array.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    network = shipped_for(kind, 2).stem
    with caplog.at_level(logging.INFO):
        upscale_here([f"input={tmp_path}/a.nc"])
    assert f"package   {network}: " in caplog.text
    assert ("cell_methods of the input says means over grid cells" in caplog.text) == (kind == "area")
    inspect_command([str(tmp_path / "a.nc")])
    assert f"checkpoint=pretrained:{network} data=climate" in capsys.readouterr().out
    np.testing.assert_array_equal(array.vsr.upscale(), vsr.load(f"pretrained:{network}").upscale(array))


def test_a_gain_that_cannot_be_measured_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    np.save(tmp_path / "a.npy", field(height=10, width=12))
    with caplog.at_level(logging.INFO):
        upscale_here([f"input={tmp_path}/a.npy", "axes=tyx", "page=true"])
    told = "not measured: frames of 10x12 are too small, or hold too little, to compare the network on them"
    assert f"gain      {told}" in caplog.text
    assert f"Gain: {told}." in (tmp_path / "a_x2.npy.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize(("factor", "offset"), [(1e-3, 0.0), (1e4, -1e8)])
def test_kelvin_or_anything_else(name: str, factor: float, offset: float) -> None:
    network, lr = vsr.load(f"pretrained:{name}"), field()
    sr = network.upscale(lr)
    other = (network.upscale(factor * lr + offset) - offset) / factor
    np.testing.assert_allclose(other, sr, atol=2e-4)


def test_smooth_fields_are_restored_far_better_than_by_bicubic() -> None:
    y, x = np.mgrid[:96, :96] / 96
    hr = np.stack([np.sin(2 * np.pi * (5 * y + k)) * np.cos(2 * np.pi * 6 * x) for k in (0.1, 0.4)])
    from vsr.degradations.resize import resize_bicubic_down, resize_bicubic_up

    lr = resize_bicubic_down(torch.from_numpy(hr)[:, None], 2)
    sr = vsr.load("pretrained:field_x2").upscale(lr.numpy()[:, 0])
    errors = [np.square(each - hr)[:, 8:-8, 8:-8].mean() for each in (sr, resize_bicubic_up(lr, 2)[:, 0].numpy())]
    assert errors[0] < errors[1] / 4


def test_a_file_needs_no_checkpoint(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    coords = {"time": [0.0, 1.0, 2.0], "y": np.arange(24.0), "x": np.arange(30.0)}
    xarray.DataArray(field(), coords, ["time", "y", "x"], name="t", attrs={"units": "K"}).to_netcdf(tmp_path / "a.nc")
    with caplog.at_level(logging.INFO):
        upscale_here([f"input={tmp_path}/a.nc"])
    with xarray.open_dataset(tmp_path / "a_x2.nc") as made:
        assert made.t.shape == (3, 48, 60)
        assert made.t.attrs["units"] == "K"
        np.testing.assert_allclose(made.t, vsr.load("pretrained:field_x2").upscale(field()), atol=2e-4)
    assert "field_x2: fields in any unit" in caplog.text
    assert "over bicubic on a coarser copy of this file" in caplog.text
    assert "if its values are means over grid cells, as in many models, type checkpoint=pretrained:field_area_x2" in caplog.text
    command = f"vsr evaluate checkpoint=pretrained:field_x2 data=climate data.path={tmp_path}/a.nc"
    assert f"the best linear filter of this file: {command}" in caplog.text
    assert "the network was trained on" not in caplog.text


def test_several_variables_are_upscaled_one_by_one(tmp_path: Path) -> None:
    movies = {"t": field(), "q": 1e-5 * field(seed=1), "p": 1e3 * field(seed=2)}
    dims = ["time", "y", "x"]
    dataset = xarray.Dataset({name: (dims, values) for name, values in movies.items()})
    dataset.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    upscale_here([f"input={tmp_path}/a.nc", "checkpoint=pretrained:field_x3"])
    network = vsr.load("pretrained:field_x3")
    finer = network.upscale(dataset)
    with xarray.open_dataset(tmp_path / "a_x3.nc") as made:
        for name, values in movies.items():
            alone = network.upscale(values)
            np.testing.assert_allclose(made[name], alone, rtol=1e-5)
            np.testing.assert_allclose(finer[name], alone, rtol=1e-5)


def test_a_clip_takes_the_film_network(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_y4m(tmp_path / "a.y4m", moving_pattern(4, 24, 32))
    with caplog.at_level(logging.INFO):
        upscale_here([f"input={tmp_path}/a.y4m", f"output={tmp_path}/frames/"])
    assert "film_x2: luma of videos and pictures" in caplog.text
    assert "means over grid cells" not in caplog.text
    assert "vsr evaluate checkpoint=pretrained:film_x2 data=movies" in caplog.text
    assert len(list((tmp_path / "frames").glob("*.png"))) == 4


def test_classes_are_no_field(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    np.save(tmp_path / "cover.npy", np.random.default_rng(0).integers(0, 9, (3, 24, 24)))
    upscale_here([f"input={tmp_path}/cover.npy", "axes=tyx", f"output={tmp_path}/out.npy"])
    assert "holds 9 whole numbers; if they are classes" in caplog.text


def test_it_is_scored_on_any_data_beside_their_own_linear_filter(tmp_path: Path) -> None:
    """Not beside the filter of the generated fields, and in the range of the data: 200 K to 300 K."""
    np.save(tmp_path / "a.npy", field(30, 48, 48) - 30)
    typed = ["data=climate", f"data.path={tmp_path}/a.npy", "data.axes=tyx", "report=false"]
    found = evaluate_here(tmp_path / "run", ["checkpoint=pretrained:field_x2", *typed])
    rows = {row["method"]: row for row in found["rows"]}
    trained = train_here(tmp_path / "own", ["model=linear", *typed[:3], "recipe.patch=8"])
    [own] = [row for row in trained["rows"] if row["method"] == "linear"]
    assert rows["linear"]["psnr"] == pytest.approx(own["psnr"], abs=0.01)
    assert rows["field_x2"]["frames"] == own["frames"]
    assert 240 < found["protocol"]["data"]["bounds"][0] < found["protocol"]["data"]["bounds"][1] < 260


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pretrained:feild_x2", r"pretrained:feild_x2: there is no such network; did you mean 'field_x2'\?; there are field_x2"),
        ("pretrained:fsrcnn_x2", r"pretrained:fsrcnn_x2: holds weights that start a training \(init=pretrained\)"),
        ("pretrained", r"pretrained: which one\? type pretrained:NAME of field_x2"),
    ],
)
def test_what_there_is_not(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        find_shipped(name)


def test_a_name_without_the_word_is_told_what_to_type() -> None:
    with pytest.raises(UserError, match=r"field_x4: no such file; type pretrained:field_x4"):
        vsr.load("field_x4")


def test_missing_values_do_not_raise_the_measured_gain() -> None:
    movie = field(4, 60, 60)
    network = vsr.load("pretrained:field_x2")
    whole = network.ood_score(movie)
    movie[:, 20:34, 8:30] = np.nan
    holed = network.ood_score(movie)
    assert whole is not None
    assert holed is not None
    assert holed.coarser_over_bicubic == pytest.approx(whole.coarser_over_bicubic, abs=1.0)


def test_arrays_that_are_no_movies_are_named() -> None:
    dataset = xarray.Dataset({"t": (["time", "y", "x"], field()), "profile": (["time"], np.zeros(3))})
    with pytest.warns(UserWarning, match="left out: profile"):
        assert list(vsr.load("pretrained:field_x2").upscale(dataset).data_vars) == ["t"]


def test_the_list_is_printed_without_torch(capsys: pytest.CaptureFixture[str]) -> None:
    weights_command([])
    lines = capsys.readouterr().out.splitlines()
    for name in NETWORKS:
        [line] = [line for line in lines if line.split()[:1] == [name]]
        assert "KiB" in line
    assert any(line.split()[:1] == ["fsrcnn_x2"] for line in lines)


def test_an_exported_safetensors_file_is_a_checkpoint(tmp_path: Path) -> None:
    train_here(tmp_path / "run", [*TINY_CLIMATE, "model=fsrcnn_s", "recipe.patch=8", "recipe.steps=2"])
    checkpoint, exported = tmp_path / "run" / "checkpoints" / "best.ckpt", tmp_path / "best.safetensors"
    export_checkpoint(checkpoint, "safetensors", exported)
    movie = field().astype(np.float32) - 280
    np.testing.assert_array_equal(vsr.load(exported).upscale(movie), vsr.load(checkpoint).upscale(movie))


def test_weights_alone_and_damaged_files_are_no_checkpoint(tmp_path: Path) -> None:
    path = find_shipped("pretrained:field_x2")
    save_file(load_file(path), tmp_path / "alone.safetensors")
    with pytest.raises(UserError, match=r"holds weights alone, and says neither scale nor degradation nor range"):
        vsr.load(tmp_path / "alone.safetensors")
    content = bytearray(path.read_bytes())
    content[-2000] ^= 4
    (tmp_path / "changed.safetensors").write_bytes(content)
    with pytest.raises(UserError, match=r"changed.safetensors: damaged \(its tensors do not have the checksum"):
        vsr.load(tmp_path / "changed.safetensors")
    (tmp_path / "short.safetensors").write_bytes(path.read_bytes()[:5000])
    with pytest.raises(UserError, match=r"short.safetensors: not a checkpoint, or damaged"):
        vsr.load(tmp_path / "short.safetensors")
    header = read_safetensors_header(path)
    wrong = {**header, "trained": json.dumps(json.loads(header["trained"]) | {"config": {"name": "field"}})}
    save_file(load_file(path), tmp_path / "wrong.safetensors", wrong)
    with pytest.raises(UserError, match=r"wrong.safetensors: its description is incomplete"):
        vsr.load(tmp_path / "wrong.safetensors")


def test_a_copy_under_another_name_is_the_same_network(tmp_path: Path) -> None:
    shutil.copy(find_shipped("pretrained:field_x2"), tmp_path / "mine.safetensors")
    np.testing.assert_array_equal(
        vsr.load(tmp_path / "mine.safetensors").upscale(field()), vsr.load("pretrained:field_x2").upscale(field())
    )


def test_networks_of_the_package_have_one_rival(script: Script, tmp_path: Path, movie: Path) -> None:
    both = "checkpoint=[pretrained:film_x2,pretrained:field_x2]"
    done = script("evaluate", both, "data=movies", f"data.path={movie}", "report=false", "strategy=cpu", "hydra.run.dir=out")
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "out" / "results.json").read_text())["rows"]
    assert [row["method"] for row in rows if row["method"].startswith("linear")] == ["linear"]
