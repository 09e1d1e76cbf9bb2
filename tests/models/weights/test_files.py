"""Files of tensors: what is read from them, what is shown of them, and what is refused."""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.fakes import ROOT
from vsr.errors import UserError
from vsr.models.fsrcnn import FSRCNN, FSRCNNOriginal
from vsr.models.plain import Plain
from vsr.models.residual import StandardizedResidual
from vsr.models.srcnn import SRCNN
from vsr.models.weights.files import architecture_in_weight_file, describe_weight_file, read_weight_file, read_weight_tensors

SHARED = ROOT.parent / "shared" / "data"
TENSORS = {"a.weight": torch.arange(24.0).reshape(2, 3, 2, 2) / 7, "a.bias": torch.tensor([0.5, -2.0])}


def own_checkpoint() -> dict[str, Any]:
    """The parts of a checkpoint of vsr that matter here."""
    network = StandardizedResidual(FSRCNN(scale=2))
    harness = {"normalizer.low": torch.zeros(1), "reference.weight": torch.ones(4, 1, 9, 9)}
    return {
        "state_dict": {f"network.{name}": tensor for name, tensor in network.state_dict().items()} | harness,
        "vsr": {
            "version": "0.1.0",
            "config": {"name": "fsrcnn", "scale": 2, "epochs": 40},
            "data": {"name": "climate-\x1b[31mtide"},
        },
        "epoch": 6,
        "global_step": 700,
        "optimizer_states": [{"state": {0: {"step": torch.tensor(1.0)}}}],
    }


def safetensors_bytes(tensors: dict[str, np.ndarray]) -> bytes:
    """The format, written by hand: length of the header, header, values."""
    header, at = {}, 0
    for name, values in tensors.items():
        kind = {"f": "F", "i": "I"}[values.dtype.kind] + str(8 * values.itemsize)
        header[name] = {"dtype": kind, "shape": values.shape, "data_offsets": [at, at + values.nbytes]}
        at += values.nbytes
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + b"".join(values.tobytes() for values in tensors.values())


def assert_same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert list(ours) == list(theirs)
    for name, tensor in theirs.items():
        assert torch.equal(ours[name], tensor)
        assert not ours[name].requires_grad


def refusal(path: Path) -> str:
    """The message without the path: one line, and the same from `describe_weight_file`."""
    messages = []
    for function in (read_weight_tensors, describe_weight_file):
        with pytest.raises(UserError) as caught:
            function(path)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert messages[0].startswith(f"{path}: ")
    assert messages[0].isprintable()
    return messages[0].removeprefix(f"{path}: ")


# --- read -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt", ""])
def test_state_dicts_are_read(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"file{suffix}"
    torch.save(TENSORS, path)
    assert_same(read_weight_tensors(path), TENSORS)
    layer = torch.nn.Conv2d(2, 3, 3)
    torch.save(OrderedDict(layer.named_parameters()), path)
    assert_same(read_weight_tensors(str(path)), {"weight": layer.weight.data, "bias": layer.bias.data})  # type: ignore[union-attr]


def test_of_our_checkpoints_the_network_is_read(tmp_path: Path) -> None:
    content = own_checkpoint()
    torch.save(content, tmp_path / "a.ckpt")
    tensors = read_weight_tensors(tmp_path / "a.ckpt")
    network = StandardizedResidual(FSRCNN(scale=2))
    network.load_state_dict(tensors)
    assert list(tensors)[:4] == ["mean", "std", "rms", "network.features.0.weight"]
    # A plain state dict of the same network has a prefix that is the network's own.
    torch.save(network.state_dict(), tmp_path / "a.pt")
    assert_same(read_weight_tensors(tmp_path / "a.pt"), network.state_dict())


def test_other_lightning_checkpoints_are_read(tmp_path: Path) -> None:
    torch.save({"state_dict": TENSORS, "epoch": 3, "hyper_parameters": {"rate": 0.1}}, tmp_path / "a.ckpt")
    assert_same(read_weight_tensors(tmp_path / "a.ckpt"), TENSORS)


def test_safetensors_are_read(tmp_path: Path) -> None:
    values = {f"features.{i}.weight": np.full((i + 1, 2), i, np.float32) for i in (10, 2, 0)}
    path = tmp_path / "a.safetensors"
    path.write_bytes(safetensors_bytes(values))
    tensors = read_weight_tensors(path)
    assert list(tensors) == ["features.0.weight", "features.2.weight", "features.10.weight"]
    assert all(np.array_equal(tensors[name], values[name]) for name in values)
    assert "kind          safetensors" in describe_weight_file(path)


def test_what_an_exported_file_says_of_itself_is_shown(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    said = {"checkpoint": "0" * 64, "vsr": "0.1.0", "name": "fsrcnn", "scale": "3", "data": "a\x1b[2Jb"}
    save_file({"w": torch.ones(3)}, tmp_path / "a.safetensors", said)
    assert read_weight_file(tmp_path / "a.safetensors").facts["scale"] == "3"
    assert "scale         3" in describe_weight_file(tmp_path / "a.safetensors")
    assert "\x1b" not in describe_weight_file(tmp_path / "a.safetensors")
    del said["checkpoint"]  # somebody else's header means something else
    save_file({"w": torch.ones(3)}, tmp_path / "a.safetensors", said)
    assert read_weight_file(tmp_path / "a.safetensors").facts == {}


# --- shown ----------------------------------------------------------------------------------------------------------------


def test_a_table_of_our_checkpoint(tmp_path: Path) -> None:
    torch.save(own_checkpoint(), tmp_path / "a.ckpt")
    lines = describe_weight_file(tmp_path / "a.ckpt").splitlines()
    assert lines[:9] == [
        str(tmp_path / "a.ckpt"),
        "  kind          checkpoint of vsr",
        "  architecture  FSRCNN of the report, x2, standardized residual",
        "  version       0.1.0",
        "  run           fsrcnn",
        "  scale         2",
        r"  data          'climate-\x1b[31mtide'",
        "  epochs        7 of 40",
        "  steps         700",
    ]
    assert lines[9] == "  tensors       20 with 7,012 numbers"
    assert lines[11].split() == ["tensor", "shape", "dtype", "mean", "std"]
    row = next(line for line in lines if line.startswith("  network.features.0.weight"))
    assert row.split()[1:3] == ["32x1x5x5", "float32"]
    assert len(lines) == 12 + 20


def test_means_and_deviations_are_those_of_the_tensor(tmp_path: Path) -> None:
    torch.save(TENSORS, tmp_path / "a.pt")
    rows = [line.split() for line in describe_weight_file(tmp_path / "a.pt").splitlines()[-2:]]
    values = TENSORS["a.weight"].numpy()
    assert rows[0] == ["a.weight", "2x3x2x2", "float32", f"{values.mean():.4g}", f"{values.std():.4g}"]
    assert rows[1] == ["a.bias", "2", "float32", "-0.75", "1.25"]
    assert "  architecture  not recognised" in describe_weight_file(tmp_path / "a.pt")


@pytest.mark.skipif(not SHARED.is_dir(), reason="the authors' files are not here: no ../shared/data")
def test_a_table_of_an_authors_file() -> None:
    lines = describe_weight_file(SHARED / "weights" / "FSRCNN-s_x2.mat").splitlines()
    assert "  kind          weights of the authors (MATLAB 5)" in lines
    assert "  architecture  FSRCNN-s = FSRCNN(32,5,1)" in lines
    assert [line.split()[:4] for line in lines if "expanding" in line] == [
        ["expanding,", "weight", "32x5x1x1", "float64"],
        ["expanding,", "bias", "32", "float64"],
        ["expanding,", "slope", "1", "float64"],
    ]


def test_cards_of_any_content_are_shown_as_far_as_they_go(tmp_path: Path) -> None:
    content = own_checkpoint()
    for card in ({}, {"config": [1], "data": {"name": {"a": 1}}}, {"config": {"epochs": "x\n" * 99}}):
        for epoch in (None, "3", 2):
            torch.save(content | {"vsr": card, "epoch": epoch, "global_step": []}, tmp_path / "a.ckpt")
            text = describe_weight_file(tmp_path / "a.ckpt")
            assert "  kind          checkpoint of vsr" in text
            assert len(text.splitlines()) <= 27


@pytest.mark.parametrize(
    ("network", "name"),
    [
        (SRCNN(kernels=(9, 3, 5), scale=2), "SRCNN 9-3-5"),
        (FSRCNN(scale=3, output_act=True), "FSRCNN of the report, x3"),
        (FSRCNNOriginal(scale=2), "FSRCNN(56,12,4)"),
        (FSRCNNOriginal(d=32, s=5, m=1, scale=2), "FSRCNN(32,5,1)"),
        (StandardizedResidual(SRCNN(act="relu", scale=2)), "SRCNN 9-1-5, standardized residual"),
        (Plain(scale=2), None),
        (torch.nn.Conv2d(1, 2, 3), None),
        (StandardizedResidual(FSRCNN(scale=2)).network.features, None),
    ],
    ids=str,
)
def test_networks_are_recognised(network: torch.nn.Module, name: str | None) -> None:
    assert architecture_in_weight_file(network.state_dict()) == name


# --- refused --------------------------------------------------------------------------------------------------------------


class Mark:
    """A pickle that would leave a mark on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch '{self.path}'",)


@pytest.mark.parametrize("place", ["top", "state_dict", "callbacks"])
def test_code_does_not_run(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    mark = tmp_path / "mark"
    evil: Any = {
        "top": {"w": Mark(mark)},
        "state_dict": {"state_dict": {"network.w": Mark(mark)}, "vsr": {}},
        "callbacks": {**own_checkpoint(), "callbacks": Mark(mark)},
    }[place]
    torch.save(evil, tmp_path / "zip.ckpt")
    assert "could run code" in refusal(tmp_path / "zip.ckpt")
    torch.save(evil, tmp_path / "old.ckpt", _use_new_zipfile_serialization=False)
    assert "could run code" in refusal(tmp_path / "old.ckpt")
    for protocol in (2, 4, 5):
        (tmp_path / "bare.pt").write_bytes(pickle.dumps(evil, protocol=protocol))
        assert "could run code" in refusal(tmp_path / "bare.pt")
    for protocol in (0, 1):  # text, which does not say what it is
        (tmp_path / "bare.pt").write_bytes(pickle.dumps(evil, protocol=protocol))
        assert "not a file of tensors" in refusal(tmp_path / "bare.pt")
    assert not mark.exists()
    pickle.loads(pickle.dumps(evil))  # the attack itself works
    assert mark.exists()


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.pt"
    torch.save(TENSORS, path)
    raw = path.read_bytes()
    for kept in (*range(0, len(raw), 97), len(raw) - 1):
        path.write_bytes(raw[:kept])
        assert re.search("damaged|empty", refusal(path))


def test_a_flipped_bit_in_a_weight_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "flipped.pt"
    torch.save(TENSORS, path)
    raw = bytearray(path.read_bytes())
    at = raw.find(TENSORS["a.weight"].numpy().tobytes())
    assert at > 0
    raw[at + 20] ^= 1
    path.write_bytes(raw)
    assert not torch.equal(torch.load(path, weights_only=True)["a.weight"], TENSORS["a.weight"])
    assert "wrong CRC" in refusal(path)


def raw_file() -> bytes:
    stream = io.BytesIO()
    torch.save(TENSORS, stream)
    return stream.getvalue()


RAW = raw_file()


@given(st.integers(0, len(RAW) - 1), st.integers(0, 7))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_flipped_bit_anywhere_is_refused_or_harmless(tmp_path: Path, at: int, bit: int) -> None:
    raw = bytearray(RAW)
    raw[at] ^= 1 << bit
    path = tmp_path / "flipped.pt"
    path.write_bytes(raw)
    try:
        tensors = read_weight_tensors(path)
    except UserError as error:
        assert str(error).isprintable()
    else:
        assert_same(tensors, TENSORS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": torch.ones(2), "b\n": torch.tensor([1, float("nan"), float("inf")])}, r"'b\\n' holds 2 NaN or infinite values"),
        ({"a": torch.ones(2, dtype=torch.bfloat16) / 0}, "a holds 2 NaN"),
        ({"a": torch.ones(2, dtype=torch.complex64)}, "a is complex"),
        ({"a": torch.eye(3).to_sparse()}, "a is sparse"),
        ({"a": torch.ones(3, device="meta")}, "a is sparse, quantized, nested or without data"),
        ({"a": torch.ones(0, 3)}, "a is empty"),
        ({"a": torch.ones(1).expand(10**12)}, "a declares 1000000000000 values, more than the file holds"),
        ({}, "holds no tensor"),
        ({"state_dict": {}, "vsr": {}}, "holds no tensor"),
        ({"epoch": 3, "model": TENSORS}, "epoch is of type int, not a tensor"),
        ({"params": TENSORS}, "params is of type dict, not a tensor"),
        ({"state_dict": {"a": [1.0]}}, "a is of type list, not a tensor"),
        ({3: torch.ones(2)}, "under 3, which is not a name"),
        ([torch.ones(2)], "holds a list, not a dictionary"),
        (torch.ones(2), "holds a Tensor, not a dictionary"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_contents_are_refused(content: Any, message: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "other.pt")
    text = refusal(tmp_path / "other.pt")
    assert re.search(message, text), text


def test_files_of_other_kinds_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    for content, message in (
        (b"", "empty"),
        (b"\n", "not a file of tensors"),
        (np.random.default_rng(0).bytes(1000), "not a file of tensors"),
        (b"PK\x05\x06" + bytes(18), "not a file of tensors"),
        (b"PK\x03\x04" + bytes(18), "not a file of torch"),
    ):
        path.write_bytes(content)
        assert message in refusal(path)
    path.write_bytes(b"MATLAB 5.0 MAT-file")
    with pytest.raises(UserError, match="a MATLAB or HDF5 file"):
        read_weight_tensors(path)
    with path.open("wb") as stream:
        np.savez(stream, a=np.ones(3))
    assert "not a file of torch" in refusal(path)
    assert "No such file" in refusal(tmp_path / "missing.pt")
    assert "directory" in refusal(tmp_path)


def test_packed_zips_are_refused(tmp_path: Path) -> None:
    """Torch packs nothing; a packed entry can be a thousand times larger than the file."""
    with zipfile.ZipFile(io.BytesIO(RAW)) as source, zipfile.ZipFile(tmp_path / "a.pt", "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    assert "packed entry" in refusal(tmp_path / "a.pt")


def test_damaged_safetensors_are_refused(tmp_path: Path) -> None:
    raw = safetensors_bytes({"a": np.arange(6, dtype=np.float32), "b": np.ones((2, 2), np.float32)})
    path = tmp_path / "a.safetensors"
    for kept in range(0, len(raw), 5):
        path.write_bytes(raw[:kept])
        assert re.search("damaged|empty", refusal(path))
    path.write_bytes(struct.pack("<Q", 2**60) + raw[8:])
    assert "damaged" in refusal(path)
    path.write_bytes(safetensors_bytes({"a": np.full(3, np.nan, np.float32)}))
    assert "a holds 3 NaN" in refusal(path)
    path.write_bytes(safetensors_bytes({}))
    assert "holds no tensor" in refusal(path)
