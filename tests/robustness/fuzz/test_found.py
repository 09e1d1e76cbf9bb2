"""Errors that fuzzing has found, each as its smallest case."""

from __future__ import annotations

import io
import struct
import sys
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

import vsr
from tests.fakes import compose_config, moving_pattern, write_video
from tests.robustness.fuzz.edits import edit_tree
from tests.robustness.fuzz.formats import FORMATS
from tests.robustness.fuzz.weight_formats import trained
from vsr.commands.app import run_hydra_app
from vsr.config.check import check_config
from vsr.data.datamodules.images import ImageDataModule
from vsr.degradations.scaling import Bicubic
from vsr.errors import UserError
from vsr.inference.trained import read_trained
from vsr.io.readers.open import open_movie
from vsr.io.readers.pictures import read_picture
from vsr.io.readers.video import read_video_luma
from vsr.models.weights.files import read_weight_file
from vsr.recipe import Recipe


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Of a checkpoint that train.py has written."""
    return dict(torch.load(io.BytesIO(trained(tmp_path_factory.mktemp("trained"))), weights_only=True))


def test_a_title_need_not_be_utf_8(tmp_path: Path) -> None:
    import av

    luma = moving_pattern(3, 16, 16)
    write_video(tmp_path / "a.mkv", luma, "ffv1", "gray")
    with av.open(str(tmp_path / "a.mkv")) as source, av.open(str(tmp_path / "b.mkv"), "w") as target:
        target.metadata["title"] = "XXXXXXXX"
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    raw = (tmp_path / "b.mkv").read_bytes()
    assert raw.count(b"XXXXXXXX") == 1
    (tmp_path / "b.mkv").write_bytes(raw.replace(b"XXXXXXXX", "Flüsse!!".encode("latin-1")))
    assert np.array_equal(read_video_luma(tmp_path / "b.mkv"), luma)


def test_a_video_of_an_unknown_codec_is_refused(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", moving_pattern(3, 16, 16), "libx264", "yuv420p")
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzz1"))
    with pytest.raises(UserError, match="holds no video stream|not a readable video"):
        read_video_luma(path)


def test_a_damaged_picture_of_16_bit_colour_is_refused(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    files = FORMATS["png16"](tmp_path / "made").valid
    raw = next(iter(files.values()))
    at = raw.find(b"IDAT")
    (tmp_path / "a.png").write_bytes(raw[: at + 8] + bytes(20) + raw[at + 28 :])
    with pytest.raises(UserError, match=r"a\.png: cannot be read as a picture"):
        read_picture(tmp_path / "a.png", "luma")


def test_remarks_of_the_library_on_a_picture_are_not_shown(tmp_path: Path) -> None:
    Image.fromarray(np.ones((24, 24), np.float32)).save(tmp_path / "a.tif")
    raw = bytearray((tmp_path / "a.tif").read_bytes())
    begin = struct.unpack("<I", raw[4:8])[0]
    entry = next(at for at in range(begin + 2, len(raw), 12) if struct.unpack("<H", raw[at : at + 2])[0] == 262)
    raw[entry + 4 : entry + 8] = struct.pack("<I", 2**20)  # as many values in a tag as the file has not
    (tmp_path / "a.tif").write_bytes(raw)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (read_picture(tmp_path / "a.tif", "luma").values == 1).all()


def test_pictures_of_a_single_row_are_refused(tmp_path: Path) -> None:
    for number in range(6):
        Image.fromarray(np.full((1, 24), number, np.uint8)).save(tmp_path / f"{number}.png")
    data = ImageDataModule(path=str(tmp_path), scale=2, degradation=Bicubic(), recipe=Recipe(patch=4))
    with pytest.raises(UserError, match="frames of 1x24 are smaller than scale=2"):
        data.setup()


def test_remarks_of_the_library_on_a_matlab_file_are_not_shown(tmp_path: Path) -> None:
    head = struct.pack("<5i", 4000, 2, 2, 0, 2)  # numbers of a Cray
    (tmp_path / "a.mat").write_bytes(head + b"H\0" + bytes(32))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserError):
            open_movie(tmp_path / "a.mat", variable="H", axes="tyx")


Change = Callable[[dict[str, Any]], Any]


def put(*keys: str, value: Any) -> Change:
    def change(content: dict[str, Any]) -> None:
        node = content
        for key in keys[:-1]:
            node = node[key]
        node[keys[-1]] = value

    return change


def tensor(form: Callable[[torch.Tensor], Any]) -> Change:
    def change(content: dict[str, Any]) -> None:
        content["state_dict"] = {name: form(value) for name, value in content["state_dict"].items()}

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (tensor(lambda t: t.to_sparse()), "is sparse"),
        (tensor(lambda t: t.to("meta")), "not a plain tensor"),
        (tensor(lambda t: t.tolist()), "not a tensor"),
        (put("state_dict", value=[1]), "its state_dict is a list"),
        (put("vsr", "config", "model", "m", value=2**63), "9223372036854775808 of a part"),
        (put("vsr", "config", "model", "s", value=0), "model.s=0: must be 1 or more"),
        (put("vsr", "config", "window", value=[0, [4], 4]), "must be three numbers"),
        (put("vsr", "config", "seed", value=[0]), "its description is incomplete"),
        (put("vsr", "config", "recipe", "patch", value="\x1b[31m"), r"\x1b[31m"),
        (put("vsr", "config", "degradation", value=None), "its description is incomplete (KeyError('degradation'))"),
        (put("vsr", "data", "channels", value=0.5), "its description is incomplete"),
        (put("state_dict", "network.std", value=torch.tensor(0.0)), "network.std is not positive"),
        (put("vsr", "config", "tune", value=3), "tune=3: is no config of tune"),
    ],
)
def test_a_checkpoint_that_was_tampered_with_is_refused_at_once(
    content: dict[str, Any], tmp_path: Path, change: Change, says: str
) -> None:
    changed = edit_tree(content, [])
    change(changed)
    torch.save(changed, tmp_path / "a.ckpt")
    began = time.monotonic()
    with pytest.raises(UserError) as refused:
        vsr.load(tmp_path / "a.ckpt", device="cpu")
    assert says in str(refused.value)
    assert str(refused.value).isprintable()
    assert time.monotonic() - began < 5


def test_remarks_of_torch_on_a_checkpoint_are_not_shown(
    content: dict[str, Any], tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    torch.save(content, tmp_path / "a.ckpt")
    rewrite_pickle(tmp_path / "a.ckpt", tmp_path / "b.ckpt", lambda raw: b"\x80q" + raw[2:])  # protocol 113
    vsr.load(tmp_path / "b.ckpt", device="cpu")
    read_weight_file(tmp_path / "b.ckpt")
    assert not recwarn.list


def rewrite_pickle(source: Path, target: Path, change: Callable[[bytes], bytes]) -> None:
    """The same file of torch with another data.pkl."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.infolist():
            raw = old.read(entry)
            new.writestr(entry.filename, change(raw) if entry.filename.endswith("data.pkl") else raw)


def test_whatever_the_unpickler_raises_a_checkpoint_is_refused(content: dict[str, Any], tmp_path: Path) -> None:
    torch.save(content, tmp_path / "a.ckpt")
    rewrite_pickle(tmp_path / "a.ckpt", tmp_path / "b.ckpt", lambda _: b"\x80\x02R.")
    with pytest.raises(UserError, match="not a checkpoint, or damaged"):
        read_trained(tmp_path / "b.ckpt")


def test_dimensions_of_one_name_are_asked_about_without_remarks(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    raw = FORMATS["netcdf3"](tmp_path / "made").valid["a.nc"]
    whole = struct.pack(">3i", 0, 1, 2)  # the numbers of the dimensions of h
    assert raw.count(whole) == 1
    (tmp_path / "a.nc").write_bytes(raw.replace(whole, struct.pack(">3i", 0, 1, 1)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserError, match="does not say what lat, lat of the dimensions"):
            open_movie(tmp_path / "a.nc", variable=None, axes=None)


def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line with which train.py refuses these arguments."""
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
    with pytest.raises(SystemExit) as status:
        run_hydra_app("train", lambda cfg, folder: None)
    assert status.value.code == 1
    line = capsys.readouterr().err.removesuffix("\n")
    assert line.isprintable()
    return line


@pytest.mark.parametrize("choice", ["5", "null", "0.5", "[1,2]", "true"])
def test_a_choice_that_is_no_name_is_refused(
    choice: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed(monkeypatch, capsys, f"model={choice}").startswith(f"error: model={choice}: ")


def test_a_line_break_in_what_was_typed_is_shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert r"a\nb" in typed(monkeypatch, capsys, "model.d={a\nb")


@pytest.mark.parametrize("key", ["model", "recipe", "data", "trainer"])
def test_a_group_that_names_nothing_is_refused(key: str) -> None:
    cfg = compose_config("train", [])
    OmegaConf.set_struct(cfg, False)
    del cfg[key]["_target_"]
    with pytest.raises(UserError, match=f"is no config of {key}; type {key}=NAME"):
        check_config(cfg)
