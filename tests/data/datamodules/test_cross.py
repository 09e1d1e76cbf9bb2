"""Learning on one source and testing on another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.fakes import assert_same_scores, compose_config, evaluate_here, moving_pattern, train_here, write_y4m
from vsr.errors import UserError
from vsr.training.build import build_data

TINY = ["data.{}.size=24", "data.{}.sampling=3", "data.{}.learn=20", "data.{}.test=10"]
QUICK = ["recipe.patch=8", "recipe.steps=3"]


def cross(train: str, test: str) -> list[str]:
    overrides = ["data=cross", f"data@data.train={train}", f"data@data.test={test}"]
    for name, choice in (("train", train), ("test", test)):
        overrides += [text.format(name) for text in TINY] if choice == "climate" else []
    return overrides


@pytest.mark.long
def test_train_and_test_come_from_their_sources(tmp_path: Path) -> None:
    overrides = [*cross("climate", "climate"), "data.test.family=turbulence", *QUICK]
    data = build_data(compose_config("train", overrides))
    alone = {
        family: build_data(
            compose_config(
                "train", ["data=climate", *(t.format("x").replace(".x.", ".") for t in TINY), f"data.family={family}", *QUICK]
            )
        )
        for family in ("tide", "turbulence")
    }
    assert data.test_splits == ("own", "test")
    for name, source, split in (("train", "tide", "train"), ("own", "tide", "test"), ("test", "turbulence", "test")):
        assert torch.equal(data.sets[name].pair.hr, alone[source].sets[split].pair.hr), name
    assert data.name == "tide-2 to turbulence-2"
    results = train_here(tmp_path / "a", overrides)
    assert {row["split"] for row in results["rows"]} == {"own", "test"}
    again = evaluate_here(tmp_path / "b", [f"checkpoint={tmp_path}/a/checkpoints/best.ckpt"])
    assert_same_scores(again["rows"], results["rows"])


def test_units_are_mapped_between_declared_bounds(movie: Path) -> None:
    data = build_data(compose_config("train", [*cross("climate", "movies"), f"data.test.path={movie}", *QUICK]))
    luma = moving_pattern(20).astype(np.float32)
    expected = torch.from_numpy(luma[14:] / 255 * 20 - 10)
    torch.testing.assert_close(data.sets["test"].pair.hr[:, 0], expected, atol=1e-4, rtol=0)
    assert data.card["bounds"] == [-10, 10]


def test_channels_must_agree(tmp_path: Path) -> None:
    u, v = np.random.default_rng(0).random((2, 12, 24, 24))
    np.savez(tmp_path / "uv.npz", u=u, v=v)
    path = write_y4m(tmp_path / "a.y4m", moving_pattern(12))
    overrides = ["data=cross", "data@data.train=climate", "data@data.test=movies", f"data.test.path={path}", *QUICK]
    overrides += [f"data.train.path={tmp_path}/uv.npz", "data.train.variable=[u,v]", "data.train.axes=tyx"]
    with pytest.raises(UserError, match="2 channels to learn from, 1 to test on"):
        build_data(compose_config("train", overrides))
