"""Every data config trains, scores and is read back; a new one is included by being there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.fakes import TINY_CLIMATE, TINY_COARSE, assert_same_scores, choices, evaluate_here, moving_pattern, train_here

# What makes a source small; one that is not listed runs as it is.
SMALL: dict[str, list[str]] = {
    "climate": TINY_CLIMATE[1:],
    "phantom": ["data.size=24", "data.frames=6", "data.learn=12", "data.test=6"],
    "spectral": ["data.size=24", "data.frames=4", "data.learn=8", "data.test=4"],
    "fields": ["data.size=48", "data.frames=2", "data.learn=8", "data.test=2", "data.flows=1", "data.val=0.2"],
    "movies": ["data.frames=3"],
    "coarse": TINY_COARSE[1:],
    "cross": [
        text.replace("data.", f"data.{part}.")
        for part in ("train", "test")
        for text in ("data.size=24", "data.learn=20", "data.test=10")
    ],
}


@pytest.mark.parametrize("data", choices("data"))
@pytest.mark.sampled(2)
def test_every_source_trains_offline_and_scores_the_same_when_read_back(data: str, tmp_path: Path) -> None:
    if data == "images":  # the photographs take long to score; tests/data/datamodules/test_images.py reads them
        for i in range(6):
            Image.fromarray(moving_pattern(1, 40 + i, 44, i)[0]).save(tmp_path / f"{i}.png")
        SMALL["images"] = [f"data.path={tmp_path}"]
    if data == "pairs":  # tests/data/datamodules/test_pairs.py has more
        frames = np.stack([moving_pattern(4, 24, 28, seed) for seed in range(3)]).astype(np.float32)
        np.save(tmp_path / "hr.npy", frames)
        np.save(tmp_path / "lr.npy", frames[..., ::2, ::2] + 1)
        SMALL["pairs"] = [f"data.lr={tmp_path}/lr.npy", f"data.hr={tmp_path}/hr.npy", "data.axes=ntyx", "data.align=cell"]
    overrides = [f"data={data}", *SMALL.get(data, []), "recipe.patch=8", "recipe.steps=3", "model=fsrcnn_s"]
    results = train_here(tmp_path / "run", overrides)
    assert results["rows"]
    assert all(row["frames"] > 0 for row in results["rows"])
    again = evaluate_here(tmp_path / "again", [f"checkpoint={tmp_path}/run/checkpoints/best.ckpt"])
    assert_same_scores(again["rows"], results["rows"])
    assert again["protocol"]["data"]["sha256"] == results["protocol"]["data"]["sha256"]
