"""Engines of upscaling beside torch: the same frames, bytes that do not change, and the choice between them."""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import vsr
from tests.fakes import moving_pattern, upscale_here, write_y4m
from tests.inference.test_engine import MODELS, engine_of, module_of, movie, whole
from tests.inference.test_upscale_file import checkpoints, fields  # noqa: F401  (the first is a fixture)
from vsr.config import check
from vsr.data.cache import cache_path
from vsr.degradations.resize import resize_bicubic_up
from vsr.errors import UserError
from vsr.inference import engine_choice, runtimes
from vsr.inference.archive import Archive
from vsr.inference.engine import Engine
from vsr.inference.options import UpscaleOptions
from vsr.io.writers.base import interrupted_identity
from vsr.models.residual import StandardizedResidual
from vsr.system.work_units import WorkUnits, units_folder

RUNTIMES = ["onnxruntime", "openvino"]
FEW = ("fsrcnn", "stacked")  # in each run of the tests; an export takes seconds
pytestmark = pytest.mark.filterwarnings("ignore:Converting a tensor to a Python boolean")  # of the shape checks of the tests


@pytest.fixture(autouse=True)
def cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Trials of one test do not decide in another; exported layers are shared by all."""
    shared = Path(cache_path(None, "x", {})).parent
    monkeypatch.setenv("VSR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(engine_choice, "FEWEST_PIXELS", 0)
    (tmp_path / "cache").mkdir()
    for path in shared.glob("layers-*.onnx"):
        shutil.copy(path, tmp_path / "cache")
    yield tmp_path / "cache"
    shared.mkdir(exist_ok=True)
    for path in (tmp_path / "cache").glob("layers-*.onnx"):
        shutil.copy(path, shared)


def installed(runtime: str) -> None:
    for package in check.RUNTIMES[runtime]:
        pytest.importorskip(package)


@pytest.mark.parametrize("model", [pytest.param(model, marks=[] if model in FEW else pytest.mark.long) for model in MODELS])
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_runtime_gives_what_torch_gives_whatever_the_tiles_and_blocks(runtime: str, model: str) -> None:
    installed(runtime)
    module, lr = module_of(model, channels=2), movie(7, 37, 53, channels=2)
    expected = whole(engine_of(module, channels=2), lr)
    rounding = 1e-4 * expected.std().item()
    engine = engine_of(module, channels=2, engine=runtime)
    found = whole(engine, lr)
    torch.testing.assert_close(found, expected, rtol=0, atol=rounding)
    torch.testing.assert_close(whole(engine_of(module, channels=2, engine=runtime, tile=24), lr), expected, rtol=0, atol=rounding)
    # After a kill, the blocks begin at other frames.
    blocks = [engine(lr[engine.window(a, b, 7)]) for a, b in ((0, 1), (1, 4), (4, 7))]
    assert torch.equal(torch.cat(blocks), found)
    # A worker of an archive has fewer threads than one process.
    torch.set_num_threads(2)
    try:
        assert torch.equal(whole(engine_of(module, channels=2, engine=runtime), lr), found)
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_gaps_borders_and_tiny_frames_are_those_of_torch(runtime: str) -> None:
    installed(runtime)
    module, lr = module_of("fsrcnn"), movie(2, 20, 24)
    lr[0, :, 2:6, 3:9] = torch.nan
    for more in ({"periodic": "xy"}, {"ensemble": True}):
        expected, found = (whole(engine_of(module, engine=engine, **more), lr) for engine in ("torch", runtime))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-3, equal_nan=True)
    tiny = movie(1, 3, 2)
    assert torch.equal(whole(engine_of(module, engine=runtime), tiny), whole(engine_of(module), tiny))


@pytest.mark.parametrize("model", ["fsrcnn", "field"])
def test_the_digits_of_a_field_do_not_pass_through_the_runtime(model: str) -> None:
    """bf16 has three digits; of a residual that is a thousandth of the field, this leaves six of the field."""
    installed("openvino")
    module, lr = module_of(model), movie(1, 24, 24)
    for part in module.network.modules():
        if isinstance(part, StandardizedResidual):
            part.rms.fill_(1e-4)
    if model == "field":
        with torch.no_grad():
            module.network.layers.out[0].weight.mul_(1e-8)
            module.network.layers.out[0].bias.mul_(1e-8)
    exact, fast = whole(engine_of(module), lr), whole(engine_of(module, engine="openvino", precision="bf16"), lr)
    residual = (exact - resize_bicubic_up(lr, 2)).abs().max()
    assert 0 < (fast - exact).abs().max() < 0.1 * residual < 0.1 * lr.abs().max()


def test_exported_layers_that_are_damaged_or_of_another_network_are_made_again(cache_of_its_own: Path) -> None:
    installed("onnxruntime")
    module, lr = module_of("fsrcnn"), movie(1, 12, 12)
    found = whole(engine_of(module, engine="onnxruntime"), lr)
    used = [path for path in cache_of_its_own.glob("layers-*.onnx") if path.stat().st_size]
    for path in used:
        path.write_bytes(path.read_bytes()[:-1000])
    runtimes._opened_file.cache_clear()
    assert torch.equal(whole(engine_of(module, engine="onnxruntime"), lr), found)
    other = module_of("fsrcnn")
    with torch.no_grad():
        for parameter in other.network.parameters():
            parameter.mul_(1.1)
    whole(engine_of(other, engine="onnxruntime"), lr)
    new = [path for path in cache_of_its_own.glob("layers-*.onnx") if path not in used]
    assert len(new) == 1
    for path in used:  # as if the code of the layers had changed, and not their weights
        shutil.copy(new[0], path)
    runtimes._opened_file.cache_clear()
    assert torch.equal(whole(engine_of(module, engine="onnxruntime"), lr), found)


def test_what_an_engine_does_not_know_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for options, said in (
        ({"engine": "onnx"}, "engine=onnx.*onnxruntime"),
        ({"engine": "onnxruntime", "precision": "bf16"}, "precision=bf16: .*type engine=openvino, or precision=fp32"),
        ({"engine": "auto", "compile": True}, "compile=true: is for engine=torch"),
    ):
        with pytest.raises(UserError, match=said):
            UpscaleOptions(**options)  # type: ignore[arg-type]
    monkeypatch.setattr(check, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"engine=openvino: needs the package openvino; type: pip install 'vsr-movies\[fast\]'"):
        UpscaleOptions(engine="openvino")


Seconds = Callable[..., dict[str, float]]


def trial(fastest: str, trials: list[int]) -> Seconds:
    """A trial in which one engine is a hundred times as fast as the others, which need a thousand seconds each."""

    def seconds(engine: object, candidates: list[UpscaleOptions], *_: object) -> dict[str, float]:
        labels = [engine_choice.label_of(each) for each in candidates]
        trials.append(len(labels))
        return {label: 10.0 if label == fastest else 1000.0 for label in labels}

    return seconds


def test_auto_takes_the_fastest_engine_and_keeps_the_trial(
    checkpoints: dict[str, Path],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    installed("onnxruntime")
    path, trials = checkpoints["fields"], list[int]()
    exact = vsr.load(path, device="cpu").upscale(fields())
    monkeypatch.setattr(engine_choice, "_seconds", trial("onnxruntime fp32", trials))
    with caplog.at_level(logging.INFO):
        found = vsr.load(path, device="cpu", engine="auto").upscale(fields())
    assert "engine    onnxruntime fp32, 100.0 times as fast as torch fp32" in caplog.text
    assert np.array_equal(found, vsr.load(path, device="cpu", engine="onnxruntime").upscale(fields()))
    assert not np.array_equal(found, exact)
    assert trials[0] == 1 < trials[1]  # torch, and all of them
    vsr.load(path, device="cpu", engine="auto").upscale(fields())
    assert trials[2:] == [1]
    vsr.load(path, device="cpu", engine="auto").upscale(fields(height=16))  # another size
    assert trials[3:] == trials[:2]


def test_auto_stays_with_torch_where_another_engine_gains_less_than_a_tenth(
    checkpoints: dict[str, Path],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    installed("onnxruntime")
    path = checkpoints["fields"]

    def seconds(engine: object, candidates: list[UpscaleOptions], *_: object) -> dict[str, float]:
        return {engine_choice.label_of(each): 1000.0 if each.engine == "torch" else 950.0 for each in candidates}

    monkeypatch.setattr(engine_choice, "_seconds", seconds)
    with caplog.at_level(logging.INFO):
        found = vsr.load(path, device="cpu", engine="auto").upscale(fields())
    assert "engine    torch fp32: no other one gains a tenth" in caplog.text
    assert np.array_equal(found, vsr.load(path, device="cpu").upscale(fields()))


def test_a_short_movie_stays_with_torch(checkpoints: dict[str, Path]) -> None:  # noqa: F811
    path = checkpoints["fields"]
    found = vsr.load(path, device="cpu", engine="auto").upscale(fields())
    assert np.array_equal(found, vsr.load(path, device="cpu").upscale(fields()))


def test_auto_takes_bf16_only_where_its_error_is_small(
    checkpoints: dict[str, Path],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path, options = checkpoints["fields"], {"device": "cpu", "engine": "auto"}
    monkeypatch.setattr(engine_choice, "cpu_computes_bf16", lambda: True)
    monkeypatch.setattr(engine_choice, "_seconds", trial("torch bf16", []))
    upscaled = {}
    for most in (0.0, 1.0):
        monkeypatch.setattr(engine_choice, "MOST_ERROR", most)
        with caplog.at_level(logging.INFO):
            upscaled[most] = vsr.load(path, **options).upscale(fields())
    assert "torch bf16 is left out: it errs by" in caplog.text
    fast = vsr.load(path, device="cpu", precision="bf16").upscale(fields())
    assert np.array_equal(upscaled[1.0], fast)
    assert not np.array_equal(upscaled[0.0], fast)
    exact = vsr.load(path, device="cpu").upscale(fields())
    assert np.array_equal(vsr.load(path, **options, precision="fp32").upscale(fields()), exact)
    monkeypatch.setattr(engine_choice, "MOST_ERROR", 0.0)
    assert np.array_equal(vsr.load(path, device="cpu", precision="auto").upscale(fields()), exact)


def interrupted(monkeypatch: pytest.MonkeyPatch, command: list[str], target: Path) -> None:
    """Upscale until the fourth frame, as if the process had been killed then."""
    call, computed = Engine.__call__, [0]

    def some(self: Engine, lr: torch.Tensor, **how: Any) -> torch.Tensor:
        if "first_frame" in how:
            computed[0] += 1
            if computed[0] > 4:
                raise KeyboardInterrupt
        return call(self, lr, **how)

    with monkeypatch.context() as patch:
        patch.setattr(Engine, "__call__", some)
        patch.setattr(Engine, "block", lambda *_: 1)
        with pytest.raises(KeyboardInterrupt):
            upscale_here(command)
    assert interrupted_identity(target)


@pytest.mark.parametrize("kind", ["array", "video"])
def test_an_interrupted_run_continues_with_its_engine(
    checkpoints: dict[str, Path],  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    installed("onnxruntime")
    np.save(tmp_path / "a.npy", fields())
    film = write_y4m(tmp_path / "film.y4m", moving_pattern(9))
    typed = {
        "array": [f"checkpoint={checkpoints['fields']}", f"input={tmp_path}/a.npy", "axes=tyx"],
        "video": [f"checkpoint={checkpoints['luma']}", f"input={film}"],
    }[kind]
    suffix = {"array": "npy", "video": "mkv"}[kind]
    named, target = (tmp_path / f"{name}.{suffix}" for name in ("named", "auto"))
    upscale_here([*typed, f"output={named}", "engine=onnxruntime", "guard=off"])
    command = [*typed, f"output={target}", "engine=auto", "guard=off"]
    monkeypatch.setattr(engine_choice, "_seconds", trial("onnxruntime fp32", []))
    interrupted(monkeypatch, command, target)
    assert interrupted_identity(target)["engine"] == "onnxruntime"
    shutil.rmtree(cache_path(None, "x", {}).parent)
    monkeypatch.setattr(engine_choice, "_seconds", trial("torch fp32", []))
    with pytest.raises(UserError, match="left by an interrupted run with another engine"):
        upscale_here([*command, "engine=torch"])
    upscale_here(command)
    if kind == "array":
        assert target.read_bytes() == named.read_bytes()
    else:
        av = pytest.importorskip("av")
        shown = []
        for path in (named, target):
            with av.open(str(path)) as container:
                shown.append(np.stack([frame.to_ndarray() for frame in container.decode(video=0)]))
        assert np.array_equal(*shown)


def test_nothing_is_measured_for_an_output_that_exists(
    checkpoints: dict[str, Path],  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    np.save(tmp_path / "a.npy", fields())
    (tmp_path / "a_x2.npy").write_bytes(b"")
    monkeypatch.setattr(engine_choice, "_seconds", lambda *_: pytest.fail("an engine was measured"))
    with pytest.raises(UserError, match=r"a_x2\.npy: exists; type overwrite=true"):
        upscale_here([f"checkpoint={checkpoints['fields']}", f"input={tmp_path}/a.npy", "axes=tyx", "engine=auto"])


def test_the_result_says_by_how_much_an_engine_differs(
    checkpoints: dict[str, Path],  # noqa: F811
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    installed("onnxruntime")
    np.save(tmp_path / "a.npy", fields(height=40, width=48))
    content = torch.load(checkpoints["fields"], weights_only=True)
    content["vsr"]["data"]["units"] = "m s-1"
    torch.save(content, tmp_path / "own.ckpt")
    with caplog.at_level(logging.INFO):
        upscale_here(
            [f"checkpoint={tmp_path}/own.ckpt", f"input={tmp_path}/a.npy", "axes=tyx", "engine=onnxruntime", "guard=linear"]
        )
    scores = r"precision fp32 by onnxruntime against fp32 on the first frame: RMSE \S+ m s-1, largest difference \S+ m s-1, PSNR"
    assert re.search(scores, caplog.text)


def test_processes_of_one_archive_share_the_engine(
    checkpoints: dict[str, Path],  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("zarr")
    installed("onnxruntime")
    coords = {"time": np.arange(9.0), "lat": np.linspace(-39, 39, 14), "lon": np.linspace(0, 95, 20)}
    xarray.DataArray(fields(), coords, ["time", "lat", "lon"], name="h").to_dataset().to_zarr(tmp_path / "in.zarr")
    typed = [f"checkpoint={checkpoints['fields']}", f"input={tmp_path}/in.zarr", "guard=off", "consistency=projection"]
    whole_ = upscale_here([*typed, f"output={tmp_path}/whole.zarr", "engine=onnxruntime"])
    command = [*typed, f"output={tmp_path}/parts.zarr", "workers=1"]
    monkeypatch.setattr(engine_choice, "_seconds", trial("onnxruntime fp32", []))
    opened = Archive.open_units

    def dies(self: Archive) -> WorkUnits:
        opened(self)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Archive, "open_units", dies)
        with pytest.raises(KeyboardInterrupt):
            upscale_here([*command, "engine=auto"])
    plan = json.loads((units_folder(tmp_path / "parts.zarr") / "plan.json").read_text())
    assert (plan["identity"]["engine"], plan["identity"]["precision"]) == ("onnxruntime", "fp32")
    monkeypatch.setattr(engine_choice, "_seconds", trial("torch fp32", []))
    parts = upscale_here([*command, "engine=auto"])
    first, second = (xarray.open_zarr(path).h.values for path in (whole_, parts))
    assert np.array_equal(first, second)


def test_options_that_name_everything_are_not_decided() -> None:
    assert not UpscaleOptions().undecided
    assert UpscaleOptions(engine="auto").precision == "auto"
    assert replace(UpscaleOptions(engine="auto"), precision="fp32").undecided
