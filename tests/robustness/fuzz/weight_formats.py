"""Formats of weights, of checkpoints, and of the record of a run: as `tests.robustness.fuzz.formats`."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from safetensors.torch import save
from scipy.io import savemat

from tests.fakes import train_here
from tests.models.weights.test_authors import fsrcnn_content
from tests.robustness.fuzz.edits import edited, ends, trees, zipped
from tests.robustness.fuzz.formats import FEW, FRAMES, Format, inside_zip, json_text, known, single


def trained(path: Path) -> bytes:
    """A checkpoint as train.py leaves it."""
    np.save(path / "a.npy", FRAMES)
    train_here(path, ["data=climate", f"data.path={path}/a.npy", "data.axes=tyx", "window=[0,0,0]", *FEW])
    return (path / "checkpoints" / "best.ckpt").read_bytes()


def torch_file(raw: bytes) -> st.SearchStrategy[bytes]:
    """Its members edited, and its content: the description of the run, and which tensors there are."""
    content = torch.load(io.BytesIO(raw), weights_only=True)

    def packed(changed: dict[str, Any]) -> bytes:
        out = io.BytesIO()
        torch.save({**content, **changed}, out)
        return out.getvalue()

    card = trees(content["vsr"]).map(lambda card: packed({"vsr": card}))
    names = st.lists(st.sampled_from(sorted(content["state_dict"])), min_size=1, max_size=2)
    forms = st.sampled_from(tuple(FORMS))
    tensors = st.builds(lambda which, form: packed({"state_dict": _formed(content["state_dict"], which, form)}), names, forms)
    return st.one_of(card, card, card, tensors, zipped(raw, inside_zip), edited(raw, ends(raw)))


FORMS: dict[str, Callable[[torch.Tensor], Any]] = {
    "double": lambda t: t.double(),
    "integer": lambda t: t.int(),
    "complex": lambda t: t.to(torch.complex64),
    "half": lambda t: t.half(),
    "flat": lambda t: t.reshape(-1),
    "deeper": lambda t: t[None],
    "empty": lambda t: t[..., :0] if t.ndim else t.reshape(1)[:0],
    "sparse": lambda t: t.to_sparse(),
    "meta": lambda t: t.to("meta"),
    "nan": lambda t: t * float("nan"),
    "huge": lambda t: torch.full_like(t, 2.0**60),
    "list": lambda t: t.tolist(),
    "none": lambda t: None,
    "expanded": lambda t: torch.zeros((), dtype=t.dtype).expand(2**20, 2**20),
}


def _formed(state: dict[str, Any], names: list[str], form: str) -> dict[str, Any]:
    return {name: FORMS[form](tensor) if name in names else tensor for name, tensor in state.items()}


@known
def checkpoint(path: Path) -> Format:
    raw = trained(path)
    return single("a.ckpt", raw, torch_file(raw), "checkpoint")


@known
def checkpoint_weights(path: Path) -> Format:
    raw = trained(path)
    return single("a.ckpt", raw, torch_file(raw), "weights")


@known
def safetensors(path: Path) -> Format:
    generator = torch.Generator().manual_seed(0)
    shapes = {
        "features.0": (4, 1, 5, 5),
        "features.2": (2, 4, 1, 1),
        "features.4": (2, 2, 3, 3),
        "features.6": (4, 2, 1, 1),
        "enlarge": (4, 1, 9, 9),
    }
    raw = save(
        {f"{name}.weight": torch.randn(shape, generator=generator) for name, shape in shapes.items()},
        {"checkpoint": "x", "scale": "2"},
    )
    size = int.from_bytes(raw[:8], "little")

    def rebuilt(header: Any) -> bytes:
        text = json.dumps(header).encode()
        return len(text).to_bytes(8, "little") + text + raw[8 + size :]

    header = trees(json.loads(raw[8 : 8 + size])).map(rebuilt)
    return single("a.safetensors", raw, st.one_of(edited(raw, ((0, 8 + size),)), header), "weights")


def authors_file(path: Path, packed: bool) -> Format:
    savemat(path / "a_x2.mat", fsrcnn_content(2, 1, 1), do_compression=packed)
    raw = (path / "a_x2.mat").read_bytes()
    return single("a_x2.mat", raw, edited(raw, ((116, 600),)), "weights")


@known
def authors(path: Path) -> Format:
    return authors_file(path, False)


@known
def authors_compressed(path: Path) -> Format:
    return authors_file(path, True)


@known
def run_record(path: Path) -> Format:
    """run.json of a run that was stopped, with the checkpoint that makes it one."""
    typed = [*FEW, "data=climate", "data.size=24", "epochs=1"]
    raw = json.dumps({"overrides": typed}, indent=1).encode()
    files = {"run/run.json": raw, "run/checkpoints/last.ckpt": b"unread"}
    return Format(files, json_text(raw).map(lambda new: {**files, "run/run.json": new}), "run", ("run",))
