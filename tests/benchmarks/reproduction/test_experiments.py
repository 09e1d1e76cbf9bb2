"""Every experiment of conf/ trains: one epoch of a step or two on data of a few pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.fakes import choices, train_here
from vsr.training.resume.checkpoints import read_checkpoint

STEP = ["recipe.steps=1", "recipe.patch=8", "recipe.batch=2"]
SMALL = ["data.size=24", "data.sampling=3", "data.learn=20", "data.test=10"]
OTHERS = [f"data.{part}.{key}" for part in ("train", "test") for key in ("size=24", "learn=20", "test=10")]
DATA = {"table4": ["data.size=24"], "other_equations": OTHERS, "pretrained": ["data.path={pictures}", "data.val=0.25"]}
FILES = {
    "table7": ["init.first.path={table1}", "init.second.path={table3}"],
    "two_in_one": ["init.path={table8}"],
}
STAGES = ("table5", "table6", "table8", "interim", "three_then_two")


def overrides(experiment: str, **files: Path) -> list[str]:
    found = [f"experiment={experiment}", *STEP, *DATA.get(experiment, SMALL), *FILES.get(experiment, [])]
    found += ["init.epochs=1"] if experiment in STAGES else []
    found += ["epochs=0"] if experiment == "table7" else []
    return [text.format(**files) for text in found]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    from PIL import Image

    folder = tmp_path_factory.mktemp("experiments")
    pictures = folder / "pictures"
    pictures.mkdir()
    for i in range(8):
        Image.fromarray(np.random.default_rng(i).integers(0, 255, (32, 32), dtype=np.uint8)).save(pictures / f"{i}.png")
    found = {"pictures": pictures}
    for name in ("table1", "table3", "table8"):
        train_here(folder / name, overrides(name))
        found[name] = folder / name / "checkpoints" / "best.ckpt"
    return found


# One of each kind in each run of the tests: a single network, and two in a row.
FEW = ("as_reported", "table6")


@pytest.mark.parametrize(
    "experiment",
    [
        pytest.param(name, marks=[] if name in FEW else pytest.mark.long)
        for name in choices("experiment")
        if name not in ("table1", "table3", "table8")
    ],
)
@pytest.mark.sampled(1)
def test_it_trains(experiment: str, files: dict[str, Path], tmp_path: Path) -> None:
    results = train_here(tmp_path, overrides(experiment, **files))
    own = [row for row in results["rows"] if row["method"] == results["config"]["name"]]
    assert own
    assert all(np.isfinite(row["psnr"]) for row in own)


def test_the_first_layers_of_table_1_are_those_that_come_with_the_package(files: dict[str, Path]) -> None:
    """And were trained for a step since: of the same direction, but for the units of the frames."""
    from vsr.models.weights.shipped import list_shipped

    names = {found.path.stem: found for found in list_shipped()}
    from safetensors.torch import load_file

    theirs = load_file(names["fsrcnn_x2"].path)
    ours = read_checkpoint(files["table1"])["state_dict"]
    for layer in ("features.0", "features.2", "features.4", "features.6"):
        mine = ours[f"network.network.{layer}.weight"]
        brought = next(tensor for name, tensor in theirs.items() if name.endswith(f"{layer}.weight"))
        assert torch.cosine_similarity(mine.flatten(), brought.flatten(), dim=0) > 0.99, layer
    last = next(tensor for name, tensor in theirs.items() if name.endswith("out.weight"))
    fresh = ours["network.network.out.weight"]
    assert torch.cosine_similarity(fresh.flatten(), last.flatten(), dim=0) < 0.5, "the report trains the last layers anew"
