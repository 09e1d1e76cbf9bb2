"""Checkpoint files: whole or not at all, and never code."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from vsr.checkpoints import AtomicCheckpointIO, read_checkpoint
from vsr.errors import UserError

CONTENT = {"state_dict": {"network.w": torch.arange(300.0)}, "vsr": {"config": {"a": [1, "b"]}}, "epoch": 3}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    AtomicCheckpointIO().save_checkpoint(CONTENT, tmp_path / "runs" / "a.ckpt")
    return tmp_path / "runs" / "a.ckpt"


def test_round_trip(saved: Path) -> None:
    read = read_checkpoint(saved)
    assert torch.equal(read["state_dict"]["network.w"], CONTENT["state_dict"]["network.w"])
    assert read["vsr"] == CONTENT["vsr"]
    assert [p.name for p in saved.parent.iterdir()] == ["a.ckpt"]


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

    def full(content: Any, path: Path) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vsr.checkpoints.torch.save", full)
    with pytest.raises(UserError, match="No space left on device.*previous one is kept"):
        AtomicCheckpointIO().save_checkpoint(CONTENT, saved)
    assert saved.read_bytes() == before
    assert [p.name for p in saved.parent.iterdir()] == ["a.ckpt"]
