"""The climate data module: cache, units, splits."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from vsr.data.datamodules.climate import ClimateDataModule
from vsr.data.simulation.families import FAMILIES, SimulationJob, simulate_family
from vsr.degradations import Bicubic
from vsr.degradations.resize import resize_bicubic_down
from vsr.errors import UserError
from vsr.recipe import Recipe
from vsr.types import Movie


def climate(folder: Path, **options: object) -> ClimateDataModule:
    arguments: dict = {"size": 24, "sampling": 3, "learn": 20, "test": 10, "cache": str(folder), "scale": 2}
    arguments |= {"degradation": Bicubic(), "recipe": Recipe(patch=8)} | options
    return ClimateDataModule(**arguments)


def test_frames_are_the_solvers_depth_on_a_fixed_affine_map(tmp_path: Path) -> None:
    data = climate(tmp_path)
    data.setup()
    low, high = FAMILIES["tide"].range
    for split, seed in (("train", (0, 0, 0)), ("val", (0, 0, 1)), ("test", (0, 1, 0))):
        run = simulate_family(SimulationJob("tide", seed, 72, 3, 10))
        expected = -10 + 20 * (run.h - low) / (high - low)
        np.testing.assert_allclose(data.sets[split].pair.hr[:, 0].numpy(), expected, atol=1e-5)
    assert data.bounds == (-10, 10)
    assert data.test_splits == ("test",)
    assert data.card["name"] == "tide-2"


def test_each_trajectory_is_wholly_in_one_split_and_eight_are_tested_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ClimateDataModule, "movies", lambda self: [Movie(torch.zeros(1, 10, 72, 72), "") for _ in range(23)])
    data = ClimateDataModule(scale=2, degradation=Bicubic(), recipe=Recipe())
    parts = data.split.cut([movie.shape[1] for movie in data.movies()], "")
    assert {name: [part.movie for part in found] for name, found in parts.items()} == {
        "train": [*range(12)],
        "val": [*range(12, 15)],
        "test": [*range(15, 23)],
    }
    assert all((part.start, part.stop) == (0, 10) for found in parts.values() for part in found)
    more = ClimateDataModule(learn=600, scale=2, degradation=Bicubic(), recipe=Recipe())
    jobs = [{k: v for k, v in one.flows.jobs.items() if k.startswith("test")} for one in (data, more) if one.flows]
    assert len(jobs[0]) == 8
    assert jobs[0] == jobs[1]


@pytest.mark.parametrize(("by", "easy"), [("time", True), (None, False)])
def test_later_times_of_one_movie_are_called_an_easy_test(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, by: str | None, easy: bool
) -> None:
    np.save(tmp_path / "a.npy", np.random.default_rng(0).standard_normal((5, 12, 24, 24), np.float32))
    data = climate(tmp_path, path=str(tmp_path / "a.npy"), axes="ntyx", by=by, learn=0.7, test=0.3)
    with caplog.at_level("INFO"):
        data.setup()
    assert ("test frames are later times of the movie that training frames are of" in caplog.text) == easy


def test_lr_is_the_degraded_whole_frame(tmp_path: Path) -> None:
    for scale in (2, 3, 4):
        data = climate(tmp_path, scale=scale, recipe=Recipe(patch=4))
        data.setup()
        for found in data.sets.values():
            torch.testing.assert_close(found.pair.lr, resize_bicubic_down(found.pair.hr, scale))


def test_no_frame_is_in_two_splits(tmp_path: Path) -> None:
    data = climate(tmp_path)
    data.setup()
    frames = {name: found.pair.hr.flatten(1) for name, found in data.sets.items()}
    for a in frames:
        for b in frames:
            if a < b:
                nearest = torch.cdist(frames[a].double(), frames[b].double()).min() / frames[a].shape[1] ** 0.5
                assert nearest > 0.05, f"{a} and {b} hold nearly the same frame"  # rms, of a range of 20


def test_cache_is_used_keyed_by_parameters_and_repaired(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = climate(tmp_path)
    first.setup()
    [file] = tmp_path.iterdir()
    stamp = file.stat().st_mtime_ns
    again = climate(tmp_path)
    again.setup()
    assert file.stat().st_mtime_ns == stamp
    assert again.card["sha256"] == first.card["sha256"]
    other = climate(tmp_path, seed=1)
    other.setup()
    assert len(list(tmp_path.iterdir())) == 2
    assert other.card["sha256"] != first.card["sha256"]
    with h5py.File(file, "r") as content:
        group = content["learn/001"]
        assert {name: group[name].shape for name in group} == {
            "h": (10, 24, 24),
            "u": (10, 24, 24),
            "v": (10, 24, 24),
            "bed": (24, 24),
        }
        assert group["h"].dtype == np.float32
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2 :] = b""
    file.write_bytes(raw)
    repaired = climate(tmp_path)
    repaired.setup()
    assert "damaged" in caplog.text
    assert repaired.card["sha256"] == first.card["sha256"]


def test_an_interrupted_generation_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> list:
        raise KeyboardInterrupt

    monkeypatch.setattr("vsr.data.datamodules.climate.generate_in_parallel", interrupted)
    with pytest.raises(KeyboardInterrupt):
        climate(tmp_path).setup()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 8}, "frames need 16 px"),
        ({"family": "bores", "learn": 25}, "trajectories of 10 frames"),
        ({"learn": 10}, "type multiples of 10, data.learn=20 or more"),
        ({"frames": 7}, "type multiples of 7, data.learn=14 or more"),
        ({"test": 0.3}, "data.test=0.3: data come in trajectories"),
        ({"frames": [2, 5]}, "data.frames=[2, 5]: is for a file"),
        ({"recipe": Recipe(patch=16)}, "recipe.patch=16 LR pixels is larger than the LR frames (12x12 at scale=2)"),
        ({"scale": 5}, "24x24 are not divisible by scale=5; type data.crop=true to cut them to 20x20"),
    ],
)
def test_what_cannot_be_generated_is_refused(tmp_path: Path, options: dict, message: str) -> None:
    with pytest.raises(UserError) as caught:
        climate(tmp_path, **options).setup()
    assert message in str(caught.value)


def test_an_unwritable_cache_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="type data.cache=FOLDER"):
        climate(tmp_path / "file").setup()
