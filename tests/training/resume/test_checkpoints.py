"""Checkpoint files: whole or not at all, and never code."""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vsr.errors import UserError
from vsr.models.weights.files import read_weight_file
from vsr.training.resume.checkpoint_io import AtomicCheckpointIO, PatientCheckpointIO
from vsr.training.resume.checkpoints import move_checkpoint, read_checkpoint

CONTENT = {"state_dict": {"network.w": torch.arange(300.0)}, "vsr": {"config": {"a": [1, "b"]}}, "epoch": 3, "global_step": 12}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    AtomicCheckpointIO().save_checkpoint(CONTENT, tmp_path / "runs" / "a.ckpt")
    return tmp_path / "runs" / "a.ckpt"


def test_round_trip(saved: Path) -> None:
    read = read_checkpoint(saved)
    assert torch.equal(read["state_dict"]["network.w"], CONTENT["state_dict"]["network.w"])
    assert read["vsr"] == CONTENT["vsr"]
    assert sorted(p.name for p in saved.parent.iterdir()) == ["a.ckpt", "a.ckpt.sha256"]


def test_every_truncation_is_refused(saved: Path) -> None:
    raw = saved.read_bytes()
    for kept in (0, 1, 100, len(raw) // 2, len(raw) - 1):
        saved.write_bytes(raw[:kept])
        with pytest.raises(UserError, match="not a checkpoint, or damaged"):
            read_checkpoint(saved)


def test_a_flipped_bit_in_a_weight_is_noticed(saved: Path) -> None:
    """torch.load itself reads on: it ignores the container's CRCs."""
    raw = bytearray(saved.read_bytes())
    at = raw.find(torch.arange(300.0).numpy().tobytes()[400:440])
    assert at > 0
    raw[at] ^= 1
    saved.write_bytes(raw)
    assert not torch.equal(torch.load(saved, weights_only=True)["state_dict"]["network.w"], CONTENT["state_dict"]["network.w"])
    with pytest.raises(UserError, match="wrong CRC"):
        read_checkpoint(saved)


class Mark:
    """A pickle that would leave a mark on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch '{self.path}'",)


def test_code_in_a_checkpoint_does_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    evil = {**CONTENT, "callbacks": Mark(mark)}
    torch.save(evil, tmp_path / "zip.ckpt")
    with pytest.raises(UserError, match="could run code"):
        read_checkpoint(tmp_path / "zip.ckpt")
    (tmp_path / "plain.ckpt").write_bytes(pickle.dumps(evil))
    with pytest.raises(UserError, match="not a checkpoint"):
        read_checkpoint(tmp_path / "plain.ckpt")
    assert not mark.exists()
    pickle.loads(pickle.dumps(Mark(mark)))  # the attack itself works
    assert mark.exists()


def test_other_files_are_named(tmp_path: Path) -> None:
    torch.save({"weights": torch.zeros(3)}, tmp_path / "other.pt")
    with pytest.raises(UserError, match="not a checkpoint of vsr"):
        read_checkpoint(tmp_path / "other.pt")
    with pytest.raises(UserError, match="no such checkpoint"):
        read_checkpoint(tmp_path / "none.ckpt")


def test_a_failed_save_keeps_the_previous_file(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = saved.read_bytes()

    def full(path: Path, content: bytes) -> None:
        path.open("wb").write(content[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match="No space left on device.*the previous one, of step 12, is kept"):
        AtomicCheckpointIO().save_checkpoint(CONTENT, saved)
    monkeypatch.undo()
    assert read_checkpoint(saved)["epoch"] == CONTENT["epoch"]
    assert saved.read_bytes() == before
    assert sorted(p.name for p in saved.parent.iterdir()) == ["a.ckpt", "a.ckpt.sha256"]


def test_the_checksum_is_that_of_sha256sum_and_is_checked(saved: Path, tmp_path: Path) -> None:
    digest, name = (saved.parent / "a.ckpt.sha256").read_text().split()
    assert (digest, name) == (hashlib.sha256(saved.read_bytes()).hexdigest(), "a.ckpt")
    torch.save({**CONTENT, "epoch": 4}, saved)  # whole and right in itself, but another file
    for read in (read_checkpoint, read_weight_file):
        with pytest.raises(UserError, match=r"a.ckpt: is damaged, or not what a.ckpt.sha256 was written for"):
            read(saved)
    (saved.parent / "a.ckpt.sha256").write_text("")  # as a power cut leaves it
    assert read_checkpoint(saved)["epoch"] == 4


def test_a_kill_between_the_moves_never_leaves_a_wrong_checksum(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before each call that changes the folder, the folder is copied as a kill would leave it."""
    states: list[Path] = []

    def noted(original: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            states.append(saved.parent.parent / f"state{len(states)}")
            shutil.copytree(saved.parent, states[-1])
            return original(*arguments, **options)

        return call

    for name in ("replace", "unlink", "fsync"):
        monkeypatch.setattr(os, name, noted(getattr(os, name)))
    AtomicCheckpointIO().save_checkpoint({**CONTENT, "epoch": 4}, saved)
    move_checkpoint(saved, saved.with_name("b.ckpt"))
    monkeypatch.undo()
    assert len(states) > 8
    found = [{p.name: read_checkpoint(p)["epoch"] for p in state.glob("*.ckpt")} for state in states]
    assert found == sorted(found, key=lambda state: ("b.ckpt" in state, state.get("a.ckpt", 5)))
    assert found[0] == {"a.ckpt": 3}
    assert {"a.ckpt": 4} in found
    assert found[-1] == {"b.ckpt": 4}
    assert read_checkpoint(saved.with_name("b.ckpt"))["epoch"] == 4


@pytest.mark.parametrize("value", [np.float32(1.5), np.float64(1.5), np.int64(3), np.bool_(True), np.str_("a")])
def test_numpys_scalars_become_plain_values(value: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    AtomicCheckpointIO().save_checkpoint({**CONTENT, "callbacks": {"x": [(value, {"y": value})]}}, path)
    found = read_checkpoint(path)["callbacks"]["x"][0][0]
    assert type(found) is type(value.item())
    assert found == value.item()


@pytest.mark.parametrize("value", [np.zeros(2), Path("a"), torch.nn.Linear(1, 1), print], ids=lambda v: type(v).__name__)
def test_what_could_not_be_read_back_is_not_written(value: Any, saved: Path) -> None:
    before = saved.read_bytes()
    with pytest.raises(TypeError, match=r"checkpoint\.callbacks\.x\[1\]: a .* would make the checkpoint unreadable"):
        AtomicCheckpointIO().save_checkpoint({**CONTENT, "callbacks": {"x": [1, value]}}, saved)
    assert saved.read_bytes() == before


def test_a_checkpoint_that_cannot_be_read_back_does_not_replace_the_previous_one(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.write_bytes

    def flipped(path: Path, content: bytes) -> None:
        raw = bytearray(content)
        raw[raw.find(torch.arange(300.0).numpy().tobytes()[400:440])] ^= 1
        real(path, raw)

    monkeypatch.setattr(Path, "write_bytes", flipped)
    with pytest.raises(UserError, match="cannot be written.*wrong CRC.*is kept"):
        AtomicCheckpointIO().save_checkpoint({**CONTENT, "epoch": 4}, saved)
    monkeypatch.undo()
    assert read_checkpoint(saved)["epoch"] == 3


def test_a_best_checkpoint_waits_as_it_was_and_the_last_one_does_not(tmp_path: Path) -> None:
    files, best, last = PatientCheckpointIO(apart=60), tmp_path / "best.ckpt", tmp_path / "last.ckpt"
    weights = torch.zeros(3)
    content = {**CONTENT, "state_dict": {"network.w": weights}}
    files.save_checkpoint({**content, "epoch": 1}, best)
    files.save_checkpoint({**content, "epoch": 2}, best)
    weights += 1  # training goes on
    files.save_checkpoint({**content, "epoch": 3}, last)
    assert read_checkpoint(best)["epoch"] == 1
    assert read_checkpoint(last)["epoch"] == 3
    files.flush()
    assert read_checkpoint(best)["epoch"] == 2
    assert read_checkpoint(best)["state_dict"]["network.w"].sum() == 0
