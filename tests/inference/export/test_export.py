"""Exported files: their values at several sizes, their metadata, and refusals."""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import vsr
from tests.fakes import ROOT, choices, compose_config, small, train_here
from vsr.__main__ import main
from vsr.degradations.resize import pad_symmetric, resize_bicubic_up
from vsr.errors import UserError
from vsr.inference.export import operators
from vsr.inference.export.checkpoint import export_checkpoint
from vsr.inference.export.function import ExportableNetwork
from vsr.inference.trained import read_trained
from vsr.models.interpolation import Interpolation
from vsr.models.residual import StandardizedResidual
from vsr.models.srnet3d import srnet3d_windows
from vsr.models.super_resolver import SuperResolver
from vsr.models.weights.files import read_weight_tensors
from vsr.models.weights.init import Checkpoint
from vsr.models.weights.shipped import tensors_sha256
from vsr.training.build import build_module

MODELS = choices("model")
# (scale, channels) where they are not 2 and 1, spread over the networks: an ONNX export takes seconds.
SIZES = {"bicubic": (4, 1), "fsrcnn": (3, 2), "fsrcnn_56": (3, 1), "linear": (4, 3), "srcnn": (4, 1), "srnet3d_kim": (3, 2)}
FEW = ("fsrcnn", "linear", "srnet3d", "two_stage")  # exported to ONNX in each run of the tests; the others are marked long
pytestmark = [
    pytest.mark.filterwarnings("ignore:.torch.jit.load. is deprecated"),
    pytest.mark.filterwarnings("ignore:Converting a tensor to a Python boolean"),  # of the shape checks, which only tests make
]


def saved(path: Path, model: str, scale: int = 2, channels: int = 1, *more: str, offset: float = 0.0) -> Path:
    """A checkpoint of a network with weights drawn at random, large enough that every layer matters."""
    torch.manual_seed(3)
    cfg = compose_config("train", [*small(model), f"scale={scale}", "degradation=area", *more])
    facts = {"name": "film", "channels": channels, "bounds": [offset - 2.0, offset + 3.0], "units": "m"}
    module = build_module(cfg, facts, ("test",))
    with torch.no_grad():
        for parameter in module.network.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.15)
        for part in module.network.modules():
            if isinstance(part, StandardizedResidual):
                for statistic, value in ((part.mean, 0.4), (part.std, 0.3), (part.rms, 0.2)):
                    statistic.fill_(value)
    content: dict[str, Any] = {"state_dict": module.state_dict()}
    module.on_save_checkpoint(content)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)
    return path


def network_of(checkpoint: Path) -> SuperResolver:
    return read_trained(checkpoint).module()


def agree(run: Callable[[Tensor], Tensor], checkpoint: Path, channels: int = 1) -> None:
    """At sizes that the export did not see: a batch of one, odd sizes, one side much longer, the smallest number of frames."""
    module = network_of(checkpoint)
    for batch, frames, height, width in ((1, 5, 11, 29), (2, 8, 24, 12), (4, 6, 13, 13)):
        clips = 2.0 * torch.randn(batch, channels, frames, height, width, generator=torch.Generator().manual_seed(frames))
        lr = clips if module.network.kind == "movie" else clips[:, :, 0]
        with torch.no_grad():
            expected = module.normalizer.inverse(module.network(module.normalizer(lr)))
        torch.testing.assert_close(run(lr), expected, rtol=0, atol=1e-4 * expected.std().item())


@pytest.mark.parametrize("model", [pytest.param(model, marks=[] if model in FEW else pytest.mark.long) for model in MODELS])
@pytest.mark.sampled(1)
def test_onnx_runtime_gives_what_the_network_gives(model: str, tmp_path: Path) -> None:
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    scale, channels = SIZES.get(model, (2, 1))
    checkpoint = saved(tmp_path / "best.ckpt", model, scale, channels)
    report = export_checkpoint(checkpoint, "onnx")
    assert report.path == tmp_path / "best.onnx"
    session = runtime.InferenceSession(str(report.path), providers=["CPUExecutionProvider"])
    agree(lambda lr: torch.from_numpy(session.run(["sr"], {"lr": lr.numpy()})[0]), checkpoint, channels)
    content = onnx.load(str(report.path))
    onnx.checker.check_model(content, full_check=True)
    network, movie = network_of(checkpoint).network, report.facts["kind"] == "movie"
    (given,), (result,) = (
        [[axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim] for value in values]
        for values in (content.graph.input, content.graph.output)
    )
    assert given == ["batch", channels, *(["frames"] if movie else []), "height", "width"]
    assert f"lr ({', '.join(map(str, given))})" in "\n".join(report.lines)
    assert f"sr ({', '.join(map(str, result))})" in "\n".join(report.lines)
    said = {entry.key: entry.value for entry in content.metadata_props}
    assert said == report.facts
    known = [json.loads(said[key]) for key in ("scale", "channels", "bounds", "margin", "context", "window")]
    assert known == [scale, channels, [-2.0, 3.0], list(network.geometry.margin), network.context, [0, 4, 4]]
    assert (said["name"], said["degradation"], said["units"], said["vsr"]) == (model, "area", "m", vsr.__version__)
    assert said["checkpoint"] == read_trained(checkpoint).sha256


@pytest.mark.parametrize(("model", "scale"), [*((model, 2) for model in MODELS), ("fsrcnn", 3), ("fsrcnn", 4)])
@pytest.mark.sampled(6)
def test_torchscript_gives_what_the_network_gives(model: str, scale: int, tmp_path: Path) -> None:
    _, channels = SIZES.get(model, (2, 1))
    checkpoint = saved(tmp_path / "best.ckpt", model, scale, channels)
    report = export_checkpoint(checkpoint, "torchscript")
    agree(torch.jit.load(report.path), checkpoint, channels)
    # Nothing in it belongs to a device: what torch.jit.load puts on a GPU runs there.
    assert 'prim::Constant[value="cpu"]' not in str(torch.jit.load(report.path).inlined_graph)
    torch.jit.load(report.path, _extra_files=(extra := {"vsr.json": ""}))
    assert json.loads(extra["vsr.json"]) == report.facts


@pytest.mark.parametrize("model", [model for model in MODELS if model not in ("nearest", "bilinear", "bicubic")])
@pytest.mark.sampled(5)
def test_safetensors_bring_every_weight_to_a_new_run(model: str, tmp_path: Path) -> None:
    open_file = pytest.importorskip("safetensors").safe_open
    checkpoint = saved(tmp_path / "best.ckpt", model)
    report = export_checkpoint(checkpoint, "safetensors")
    assert report.difference == 0.0
    with open_file(report.path, "pt") as file:
        said = file.metadata()
    assert json.loads(said.pop("trained"))["config"]["name"] == said["name"]
    assert said.pop("tensors_sha256") == tensors_sha256(report.path.read_bytes())
    assert said == report.facts
    expected = network_of(checkpoint).network
    tensors = read_weight_tensors(report.path)
    assert tensors.keys() == expected.state_dict().keys()
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in expected.state_dict().items())
    if model != "linear":  # which every run computes from its own training frames
        trained = read_trained(checkpoint)
        fresh = build_module(trained.config, trained.facts, ("test",)).network
        assert {row.status for row in Checkpoint(path=str(report.path))(fresh)} == {"loaded"}
        brought = dict(fresh.named_parameters())
        assert all(torch.equal(tensor, brought[name]) for name, tensor in expected.named_parameters())


def test_a_run_starts_from_safetensors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("safetensors")
    path = export_checkpoint(saved(tmp_path / "best.ckpt", "fsrcnn_s"), "safetensors").path
    data = ["data=phantom", "data.size=36", "data.frames=5", "data.learn=10", "data.test=5"]
    result = train_here(tmp_path / "run", ["model=fsrcnn_s", "epochs=0", "init=checkpoint", f"init.path={path}", *data])
    assert {row["status"] for row in result["init"]} == {"loaded"}
    main(["weights", str(path)])
    assert "FSRCNN(32,5,1), standardized residual" in capsys.readouterr().out


def test_frames_go_through_a_file_as_through_upscale(tmp_path: Path) -> None:
    checkpoint = saved(tmp_path / "best.ckpt", "fsrcnn")
    lr = np.random.default_rng(0).normal(size=(3, 14, 19)).astype(np.float32)
    run = torch.jit.load(export_checkpoint(checkpoint, "torchscript").path)
    expected = vsr.load(checkpoint, device="cpu").upscale(lr)
    np.testing.assert_allclose(run(torch.from_numpy(lr)[:, None])[:, 0], expected, atol=1e-4 * expected.std())


@pytest.mark.parametrize("windows", ["true", "false"])
def test_a_clip_run_as_a_whole_or_in_windows(windows: str, tmp_path: Path) -> None:
    checkpoint = saved(tmp_path / "best.ckpt", "srnet3d", 3, 1, f"model.windows={windows}")
    report = export_checkpoint(checkpoint, "torchscript")
    agree(torch.jit.load(report.path), checkpoint)
    assert report.facts["context"] == ("2" if windows == "true" else "7")


@pytest.mark.parametrize("scale", [2, 3, 4, 6, 8])
@pytest.mark.parametrize(("height", "width"), [(2, 2), (3, 2), (9, 17)])
def test_the_forms_are_the_functions_that_they_stand_in_for(scale: int, height: int, width: int) -> None:
    frames = torch.randn(2, 3, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    weight = operators.exportable_cubic_phases(scale, torch.float64)
    torch.testing.assert_close(
        operators.exportable_bicubic_upsample(frames, scale, weight), resize_bicubic_up(frames, scale), rtol=0, atol=1e-13
    )
    torch.testing.assert_close(weight.sum((1, 2, 3)), torch.ones(scale**2, dtype=torch.float64))
    assert torch.equal(operators.exportable_mirror_pad(frames, 2), pad_symmetric(frames, 2))
    clip = torch.randn(2, 3, 4 + scale, height, width, dtype=torch.float64)
    body = nn.Conv3d(3, 2, (5, 1, 1), dtype=torch.float64)
    torch.testing.assert_close(operators.exportable_windows(body, clip), srnet3d_windows(body, clip))


def test_the_network_is_as_before_once_it_is_exported(tmp_path: Path) -> None:
    checkpoint = saved(tmp_path / "best.ckpt", "srnet3d")
    module, lr = network_of(checkpoint), torch.rand(1, 1, 5, 3, 4)
    before = module.network(lr)
    # The equivalents are at work: a mirrored border needs as many pixels.
    replaced = operators.exportable_operators(2, operators.exportable_cubic_phases(2))
    with replaced, pytest.raises(RuntimeError, match="exceeds dimension size"):
        module.network(lr[..., :1])
    assert torch.equal(module.network(lr), before)
    export_checkpoint(checkpoint, "torchscript")
    assert torch.equal(module.network(lr), before)


@pytest.mark.parametrize(
    ("sharper", "said"),
    [
        (lambda w: w * 1.001, r"differs from the network by \d\.\de-0\d of the output's spread at 1x1x8x9 \(allowed: 1e-04\)"),
        (lambda w: w * torch.nan, r"differs from the network by nan of"),
    ],
    ids=["another kernel", "nan"],
)
def test_a_file_that_computes_something_else_is_not_written(
    sharper: Callable[[Tensor], Tensor], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = saved(tmp_path / "best.ckpt", "fsrcnn_56")
    (tmp_path / "best.torchscript").write_text("of last week")
    monkeypatch.setattr(
        "vsr.inference.export.function.exportable_cubic_phases", lambda scale: sharper(operators.exportable_cubic_phases(scale))
    )
    with pytest.raises(UserError, match=rf"best\.torchscript: not written, as it {said}"):
        export_checkpoint(checkpoint, "torchscript", overwrite=True)
    assert (tmp_path / "best.torchscript").read_text() == "of last week"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.ckpt", "best.torchscript"]


def test_a_size_that_stays_in_the_file_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint, forward = saved(tmp_path / "best.ckpt", "bilinear"), ExportableNetwork.forward
    monkeypatch.setattr(ExportableNetwork, "forward", lambda self, lr: forward(self, lr) + torch.zeros(int(2 * lr.shape[3])))
    with pytest.warns(torch.jit.TracerWarning), pytest.raises(UserError, match="best.torchscript: not written, as it fails at"):
        export_checkpoint(checkpoint, "torchscript")
    assert not (tmp_path / "best.torchscript").exists()


@pytest.mark.long
def test_a_network_that_the_format_does_not_know_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxscript")
    checkpoint, forward = saved(tmp_path / "best.ckpt", "bilinear"), Interpolation.forward
    monkeypatch.setattr(Interpolation, "forward", lambda self, lr: forward(self, lr if lr.mean() > 0 else -lr))
    with pytest.raises(UserError, match=r"format=onnx: Interpolation cannot be exported \(.*data-dependent"):
        export_checkpoint(checkpoint, "onnx")


def test_values_far_from_zero_round_as_float32_does(tmp_path: Path) -> None:
    report = export_checkpoint(saved(tmp_path / "best.ckpt", "fsrcnn", offset=101300.0), "torchscript")
    assert report.difference <= 8 * np.spacing(np.float32(101303))


def test_a_file_names_no_place_on_the_machine_that_made_it(tmp_path: Path) -> None:
    checkpoint = saved(tmp_path / "best.ckpt", "linear")
    with zipfile.ZipFile(export_checkpoint(checkpoint, "torchscript").path) as archive:
        parts = [archive.read(name) for name in archive.namelist()]
    pytest.importorskip("onnx")
    parts.append(export_checkpoint(checkpoint, "onnx").path.read_bytes())
    for place in (ROOT, tmp_path, Path(torch.__file__).parent):
        assert not any(str(place).encode() in part for part in parts)


def test_the_command_says_what_it_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = saved(tmp_path / "a=b, c" / "best.ckpt", "joint")
    main(["export", f"checkpoint={checkpoint}", "format=torchscript", f"output={tmp_path}/x/net.ts"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{tmp_path}/x/net.ts"
    assert "  input     lr (batch, 1, frames, height, width), frames from 5, height and width from 9" in lines
    assert "  output    sr (batch, 1, frames - 4, 2*height - 4, 2*width - 4); float32, physical units, like the input" in lines
    assert lines[-1].startswith("  compared  with the network at 1x1x5x9x10, 3x1x6x18x11, 1x1x8x15x26: differs by ")
    assert (tmp_path / "x" / "net.ts").is_file()


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["checkpiont=a"], "checkpiont: unknown key; did you mean 'checkpoint'?"),
        (["best.ckpt"], "best.ckpt: type KEY=VALUE"),
        (["format=onnx"], "checkpoint: needed; type checkpoint=FILE"),
        (["checkpoint={here}"], "format: needed; type format=onnx|safetensors|torchscript"),
        (["checkpoint={here}", "format=onx"], "format=onx; did you mean 'onnx'?"),
        (["checkpoint={here}", "format="], "format: needs a value; type format=VALUE"),
        (["checkpoint={here}", "format=onnx", "format=onnx"], "format: given twice; type it once"),
        (["checkpoint={here}", "format=onnx", "overwrite=yes"], "overwrite=yes: type overwrite=true or overwrite=false"),
        (["checkpoint={here}", "format=onnx", "packages=x"], "packages=x: is for format=web; leave it out"),
        (["checkpoint=/no/such.ckpt", "format=onnx"], "checkpoint=/no/such.ckpt: no such file"),
        (["checkpoint={here}", "format=onnx", "output={here}"], "output={here}: is the checkpoint; type another name"),
        (
            ["checkpoint={here}", "format=onnx", "output={there}"],
            "{there}: exists; type overwrite=true to replace it, or another output=PATH",
        ),
        (["checkpoint={there}", "format=onnx"], "{there}: not a checkpoint, or damaged"),
        (["checkpoint={here}", "format=safetensors"], "format=safetensors: bilinear has no weights to write; type format=onnx"),
        (["checkpoint={here}", "format=torchscript", "output={there}/x.ts"], "{there}/x.ts: cannot be written ("),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
@pytest.mark.sampled(6)
def test_mistakes_are_one_line(typed: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = {"here": str(saved(tmp_path / "best.ckpt", "bilinear")), "there": str(tmp_path / "note.txt")}
    Path(names["there"]).write_text("a note")
    with pytest.raises(SystemExit, match="1"):
        main(["export", *(text.format(**names) for text in typed)])
    error = capsys.readouterr().err
    assert error.startswith(f"error: {said.format(**names)}")
    assert error.count("\n") == 1
    assert Path(names["there"]).read_text() == "a note"


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(UserError, match=r"needs the package onnxscript; type: pip install 'vsr-movies\[export\]'"):
        export_checkpoint(saved(tmp_path / "best.ckpt", "bilinear"), "onnx")
