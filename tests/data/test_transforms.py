"""Transforms of variables with heavy tails, from the file to the output in physical units."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import vsr
from tests.fakes import assert_same_scores, compose_config, evaluate_here, train_here, upscale_here
from vsr.config.check import check_config
from vsr.data.datamodules.pairs import PairsDataModule
from vsr.degradations.scaling import Area, Paired
from vsr.errors import UserError
from vsr.inference.export.checkpoint import export_checkpoint
from vsr.io.readers.open import open_movie
from vsr.models.interpolation import Interpolation
from vsr.models.transform import TRANSFORMS, Transform, Transformed
from vsr.recipe import Recipe

QUICK = ["model=fsrcnn_s", "epochs=1", "recipe.steps=3", "recipe.patch=8", "data=climate", "data.axes=tyx", "degradation=area"]


def fields(frames: int = 16, height: int = 24, width: int = 28) -> dict[str, np.ndarray]:
    """Return a temperature (K), a humidity (kg/kg) over four orders of magnitude, and a current (m/s) of both signs."""
    t, y, x = np.meshgrid(np.arange(frames), np.arange(height), np.arange(width), indexing="ij")
    wave = np.sin(0.5 * y + 0.3 * t) + np.cos(0.9 * x)
    return {"t": 280 + 15 * wave, "q": 1e-4 * np.exp(2.3 * wave), "u": np.sinh(2 * wave)}


def write(path: Path, **values: np.ndarray) -> Path:
    np.savez(path, **values)
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoint of a run with a variable of each kind."""
    folder = tmp_path_factory.mktemp("transforms")
    path = write(folder / "a.npz", **fields())
    given = [f"data.path={path}", "data.variable=[t,q,u]", "data.transform={q: log, u: asinh}"]
    train_here(folder / "run", [*QUICK, *given])
    return folder / "run" / "checkpoints" / "best.ckpt"


def rows_of_training(run: Path) -> list[dict[str, Any]]:
    return json.loads((run.parent.parent / "results.json").read_text())["rows"]


@given(
    st.sampled_from(TRANSFORMS),
    st.floats(1e-30, 1e30),
    st.floats(1.1, 1e6),
    st.lists(st.floats(0, 1, width=32), min_size=1, max_size=8),
    st.booleans(),
)
@settings(max_examples=50, deadline=None)
def test_a_transform_is_inverted_in_the_unit_of_the_values(
    kind: Any, low: float, ratio: float, places: list[float], signs: bool
) -> None:
    high = low * ratio
    least = -high if kind == "asinh" and signs else 0.0 if kind == "sqrt" and signs else low
    one = Transform(kind, least, high, (low * high) ** 0.5)
    x = (least + (high - least) * np.float64(places)).clip(least, high)
    there = one(torch.from_numpy(x))
    assert -1e-9 <= float(there.min()) <= float(there.max()) <= 1 + 1e-9
    np.testing.assert_allclose(one.inverse(there).numpy(), x, rtol=1e-9, atol=1e-12 * high if signs else 0)
    # In single precision, and through the unit interval of scores: the identity network gives its frames back.
    network = Transformed(Interpolation(method="nearest", scale=1, channels=1), [one], (least, high))
    unit = torch.from_numpy((x - least) / (high - least)).float().view(1, 1, 1, -1)
    back = network(unit)
    tolerance = 4e-6 * (unit + (low / (high - low) if kind == "log" else 1))
    assert bool(((back - unit).abs() <= tolerance).all())


def test_values_of_every_path_are_physical(run: Path, tmp_path: Path) -> None:
    rows = evaluate_here(tmp_path / "evaluated", [f"checkpoint={run}"])["rows"]
    assert_same_scores(rows, rows_of_training(run))
    values = np.stack([fields()[name] for name in "tqu"], axis=1)
    lr = Area()(torch.from_numpy(values[11:]).float(), 2)
    network = vsr.load(run, device="cpu")
    sr = network.upscale(lr).double().numpy()
    assert (sr[:, 1] > 0).all()
    low, high = np.moveaxis(np.array(network.bounds), 1, 0)[..., None, None]
    mse = (((sr - values[11:]) / (high - low)) ** 2)[..., 4:-4, 4:-4].mean((2, 3))
    own = {row["variable"]: row for row in rows if row["method"] == "fsrcnn_s"}
    for channel, name in enumerate("tqu"):
        assert own[name]["psnr"] == pytest.approx(-10 * np.log10(mse[:, channel]).mean(), abs=1e-2)
    # The network inside sees logarithms: it is the same function of them in any unit of q.
    inner = network.module.network
    assert isinstance(inner, Transformed)
    seen = inner.transform(network.module.normalizer(lr))[:, 1].double().numpy()
    train = values[:9, 1]
    expected = (np.log(lr[:, 1].double().numpy()) - np.log(train.min())) / np.log(train.max() / train.min())
    np.testing.assert_allclose(seen, expected, atol=1e-5)
    # Baselines do not see the transform.
    path = write(tmp_path / "q.npz", q=fields()["q"])
    plain = train_here(tmp_path / "q", [*QUICK, "model=bicubic", f"data.path={path}"])["rows"]
    [alone] = [row["psnr"] for row in plain if row["method"] == "bicubic"]
    [beside] = [row["psnr"] for row in rows if (row["variable"], row["method"]) == ("q", "bicubic")]
    assert beside == pytest.approx(alone, rel=1e-5)
    files = write(tmp_path / "lr.npz", **{name: lr[:, i].numpy() for i, name in enumerate("tqu")})
    upscale_here([f"checkpoint={run}", f"input={files}", "axes=tyx", f"output={tmp_path}/sr.npz"])
    for channel, name in enumerate("tqu"):
        found = open_movie(tmp_path / "sr.npz", variable=name, axes="tyx").read(0, 0, 5)[0]
        np.testing.assert_allclose(found, sr[:, channel], rtol=1e-4)


def test_a_checkpoint_starts_another_run(run: Path, tmp_path: Path) -> None:
    again = [*QUICK, f"data.path={run.parents[2]}/a.npz", "data.variable=[t,q,u]", "data.transform={q: log, u: asinh}"]
    rows = train_here(tmp_path / "again", [*again, "epochs=0", "init=checkpoint", f"init.path={run}"])["rows"]
    for row, trained in zip(rows, rows_of_training(run), strict=True):
        assert row["psnr"] == trained["psnr"]


@pytest.mark.parametrize("format_", ["torchscript", pytest.param("onnx", marks=pytest.mark.long), "safetensors"])
def test_an_exported_network_takes_and_gives_physical_values(run: Path, tmp_path: Path, format_: Any) -> None:
    if format_ != "torchscript":
        pytest.importorskip("onnxruntime" if format_ == "onnx" else "safetensors")
    report = export_checkpoint(run, format_, tmp_path / f"a.{format_}")
    assert '"kind": "log"' in report.facts["transforms"]


def test_what_a_transform_does_not_take_is_refused_by_file_variable_and_frame(run: Path, tmp_path: Path) -> None:
    values = fields()
    values["q"][5, 3, 4] = 0
    path = write(tmp_path / "zero.npz", **values)
    several = ["data.variable=[t,q]", f"data.path={path}"]
    said = r"zero\.npz.*: frame 5: q is 0, and data\.transform=\{q: log\} takes values above 0; type asinh"
    with pytest.raises(UserError, match=said):
        train_here(tmp_path / "a", [*QUICK, *several, "data.transform={q: log}"])
    assert not (tmp_path / "a" / "checkpoints").exists()
    with pytest.raises(UserError, match=r"frame 0: u is -.*, and data\.transform=\{u: sqrt\} takes no negative values"):
        train_here(tmp_path / "a", [*QUICK, f"data.path={path}", "data.variable=[t,u]", "data.transform={u: sqrt}"])
    with pytest.raises(UserError, match=r"data\.transform=\{r: \.\.\.\}: no such variable; known: q, t"):
        train_here(tmp_path / "a", [*QUICK, *several, "data.transform={r: log}"])
    config = compose_config("train", [*QUICK, *several, "data.transform={q: ln}"])
    with pytest.raises(UserError, match=r"data\.transform"):
        check_config(config)
    path = write(tmp_path / "a.npz", **fields())
    given = [*QUICK, f"data.path={path}", "data.variable=[t,q]", "data.transform={q: log}"]
    with pytest.raises(UserError, match=r"data\.bounds=\{q: \[-0\.01,0\.02\]\}: with .* type data\.bounds=\{q: \[0,0\.02\]\}"):
        train_here(tmp_path / "a", [*given, "data.bounds={q: [-0.01,0.02]}"])
    with pytest.raises(UserError, match=r"data\.transform: is for single networks"):
        train_here(tmp_path / "a", [*given, "model=joint", "recipe.frames=7"])
    spike = fields()
    spike["q"][:, 12, 12] = 10
    path = write(tmp_path / "spike.npz", **spike)
    with pytest.raises(UserError, match=r"spike\.npz.*: frame 0: in the LR frame, q is -.*; type degradation=area, .*; or asinh"):
        train_here(tmp_path / "a", [*given, f"data.path={path}", "degradation=bicubic"])
    offset = write(tmp_path / "p.npz", p=101325 + 1e-3 * fields()["t"])
    with pytest.raises(UserError, match=r"data\.transform=log: values of .* differ so little"):
        train_here(tmp_path / "a", [*QUICK, f"data.path={offset}", "data.transform=log"])
    # What comes after training.
    zero = {name: values[name][:6, ::2, ::2].copy() for name in "tqu"}
    zero["q"][4, 2, 2] = -1e-3
    files = write(tmp_path / "lr.npz", **zero)
    before = set(tmp_path.iterdir())
    for guard in ("warn", "off"):
        with pytest.raises(UserError, match=r"lr\.npz: frame 4: q is -0\.001, and .* takes values above 0; give values in the"):
            upscale_here([f"checkpoint={run}", f"input={files}", "axes=tyx", f"guard={guard}", f"output={tmp_path}/sr.npz"])
        assert set(tmp_path.iterdir()) == before
    with pytest.raises(UserError, match=r"frame 4: q is -0\.001"):
        vsr.load(run, device="cpu").upscale(np.stack([zero[name] for name in "tqu"], axis=1))
    others = [f"checkpoint={run}", "data=climate", f"data.path={tmp_path}/zero.npz", "data.axes=tyx", "data.variable=[t,q,u]"]
    with pytest.raises(UserError, match=r"frame 5: q is 0, and data\.transform=\{q: log\}"):
        evaluate_here(tmp_path / "b", others)


def test_other_bounds_change_scores_and_not_what_the_network_makes(run: Path, tmp_path: Path) -> None:
    data = ["data=climate", f"data.path={run.parents[2]}/a.npz", "data.axes=tyx", "data.variable=[t,q,u]"]
    rows = evaluate_here(tmp_path, [f"checkpoint={run}", *data, "data.bounds={q: [0,1]}"])["rows"]
    own, wide = (
        next(row["psnr"] for row in found if (row["variable"], row["method"]) == ("q", "fsrcnn_s"))
        for found in (rows_of_training(run), rows)
    )
    low, high = vsr.load(run, device="cpu").bounds[1]
    assert wide == pytest.approx(own - 20 * np.log10(high - low), abs=1e-2)


def test_gaps_are_left_out_of_transforms(tmp_path: Path) -> None:
    values = fields()["q"]
    values[:, 5:9, 6:12] = np.nan
    path = write(tmp_path / "gaps.npz", q=values)
    train_here(tmp_path / "a", [*QUICK, f"data.path={path}", "data.transform=log", "data.mask=true"])
    network = vsr.load(tmp_path / "a" / "checkpoints" / "best.ckpt", device="cpu")
    lr = values[:2, ::2, ::2]
    sr = network.upscale(lr)
    assert np.array_equal(np.isnan(sr), np.isnan(lr).repeat(2, 1).repeat(2, 2))
    assert (sr[np.isfinite(sr)] > 0).all()


def test_a_damaged_transform_in_a_checkpoint_is_refused(run: Path, tmp_path: Path) -> None:
    for change in ({"kind": "exp"}, {"scale": 0.0}, {"low": -1.0}, {"extra": 1}):
        content = torch.load(run, weights_only=True)
        content["vsr"]["data"]["transforms"][1] |= change
        torch.save(content, tmp_path / "a.ckpt")
        with pytest.raises(UserError, match=r"its description is incomplete"):
            vsr.load(tmp_path / "a.ckpt")


def test_lr_files_of_pairs_are_checked_too(tmp_path: Path) -> None:
    hr = fields()["q"]
    lr = hr[:, ::2, ::2].copy()
    common = {"scale": 2, "degradation": Paired(), "recipe": Recipe(patch=8), "axes": "tyx", "transform": "log"}
    paths = {"lr": str(write(tmp_path / "lr.npz", q=lr)), "hr": str(write(tmp_path / "hr.npz", q=hr))}
    with pytest.raises(UserError, match=r"data\.transform is for pairs whose LR pixels lie in the middle"):
        PairsDataModule(**paths, **common, align="node")
    data = PairsDataModule(**paths, **common, align="cell")
    data.setup()
    [one] = data.card["transforms"]
    assert (one["kind"], one["low"]) == ("log", pytest.approx(hr[: data.card["frames"]["train"]].min()))
    lr[3, 2, 2] = 0
    write(tmp_path / "lr.npz", q=lr)
    with pytest.raises(
        UserError, match=r"frame 3: in the LR frame, a value is 0, and data\.transform=log takes values above 0; type asinh"
    ):
        PairsDataModule(**paths, **common, align="cell").setup()
