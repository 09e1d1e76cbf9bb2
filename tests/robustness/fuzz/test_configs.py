"""Damaged configs and overrides end in a config that holds, or in one line; with a share of what holds a network is trained."""

from __future__ import annotations

import collections
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from tests.fakes import compose_config
from tests.robustness.fuzz.edits import trees
from tests.robustness.fuzz.formats import FEW, FRAMES
from tests.robustness.fuzz.runner import Player
from tests.robustness.fuzz.test_formats import QUIET, few_or_many

SHORT, LONG, WHOLE, TRAINED = 6, 300, 2000, 150  # examples: composed, of whole configs, and trained with
# As typed behind a key, in Hydra's grammar and outside of it.
TEXTS = (
    *("null", "true", "0", "-1", "1", "3", "0.5", "-0.0", "1e999", "nan", "-inf", "2147483648", "9223372036854775808", "1e308"),
    *("", "x", "''", "'a b'", '"', "[", "]", "[]", "[1,2]", "[null]", "{}", "{a:1}", "é", "'\u2028'"),
    *("${seed}", "${seed", "${oc.env:HOME}", "${x.y}", "???", "1,2", "../x", "/dev/null", "a=b"),
    *("_target_", "\\", "%s", "{0}", "9" * 400),
)
PLAIN = {
    "train": (
        "model=fsrcnn_s data=climate data.size=24 data.family=tide recipe.rate=1e-3 recipe.patch=8 recipe.steps=2 "
        "recipe.batch=4 recipe.loss=mse recipe.ema=0.9 epochs=1 seed=0 scale=2 window=[0,4,4] monitor=val/psnr "
        "patience=3 degradation=bicubic strategy=cpu precision=32 ends=replicate consistency=none budget=null "
        "tune.freeze=[] tune.l2sp=0 trainer.devices=1 logger=tensorboard model.d=8 callbacks.early_stopping.patience=2"
    ),
    "evaluate": ("checkpoint=a.npy data=climate data.path=a.npy data.axes=tyx window=[0,0,0] protocol=float strategy=cpu"),
    "upscale": (
        "checkpoint=a.npy input=a.npy output=b.npy axes=tyx device=cpu tile=8 memory=64 periodic=none "
        "ends=replicate frames=3 fps=25 crf=10 precision=fp32 ensemble=false max_bytes=1000000 consistency_steps=3"
    ),
}
# A user's own config, as a delta that is chosen by its name.
OWN: dict[str, Any] = yaml.safe_load("""
model: {d: 8, s: 4, m: 1, act: prelu, slope: 0.25}
recipe: {rate: 1.0e-3, steps: 1, batch: 2, patch: 4, schedule: one_cycle, ema: 0.9, clip: 1.0, finetune: 0.0}
data: {learn: 5, test: 3, val: 0.2, gap: 0, crop: false, bounds: [0.0, 255.0], symmetries: [flip_x]}
tune: {freeze: [], l2sp: 0.0, rates: null}
trainer: {devices: 1}
scale: 2
epochs: 1
seed: 0
window: [0, 0, 0]
monitor: val/psnr
patience: 2
ends: replicate
protocol: float
""")


def overrides(script: str) -> st.SearchStrategy[list[str]]:
    """What may be typed, with one to three words changed: another value, another key, a letter or the word missing or doubled."""
    words = PLAIN[script].split()

    def changed(typed: list[str], change: tuple[int, str, str, int]) -> list[str]:
        number, kind, text, at = change
        word = typed[number % len(typed)]
        key, _, value = word.partition("=")
        new = {
            "value": [f"{key}={text}"],
            "drop": [],
            "double": [word, word],
            "add": [word, f"{text}=1"],
            "plus": [f"+{word}"],
            "tilde": [f"~{key}"],
            "deeper": [f"{key}.{text}={value}"],
            "letter": [word[: at % len(word)] + word[at % len(word) + 1 :]],
            "append": [word + text],
        }[kind]
        # Not -m or --help, which are no config; nor keys of Hydra itself, which is not judged here.
        new = [each for each in new if each and not each.startswith("-") and "\0" not in each]
        return [*typed[: number % len(typed)], *new, *typed[number % len(typed) + 1 :]] or ["scale=2"]

    kinds = st.sampled_from(
        ("value", "value", "value", "value", "drop", "double", "add", "plus", "tilde", "deeper", "letter", "append")
    )
    change = st.tuples(st.integers(0, 40), kinds, st.sampled_from(TEXTS), st.integers(0, 30))

    def several(changes: list[tuple[int, str, str, int]]) -> list[str]:
        typed = words
        for each in changes:
            typed = changed(typed, each)
        return typed

    return st.lists(change, min_size=1, max_size=3).map(several)


def dumped(tree: Any) -> str | None:
    """As YAML; None for what YAML does not hold."""
    try:
        text = str(yaml.safe_dump(tree, allow_unicode=True).encode().decode())
        return text if isinstance(yaml.safe_load(text), dict) else None
    except (yaml.YAMLError, ValueError):
        return None


def judge(player: Player, folder: Path, job: str, arguments: list[str], ends: collections.Counter[str]) -> None:
    done = player.play(folder, job, *arguments)
    assert done.fine, f"{arguments}: status {done.status} after {done.seconds:.1f} s\n{done.stderr}"
    assert "Traceback" not in done.stdout
    ends["refused" if done.refused else "held"] += 1


def fair(ends: collections.Counter[str], examples: int, share: float) -> None:
    """Whether both ends were met: by the share of many, at all by few."""
    assert ends["refused"], ends
    assert examples < TRAINED or min(ends["refused"], ends["held"]) >= share * examples, ends


def here(folder: Path) -> Path:
    """An empty folder with a file of frames in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    np.save(folder / "a.npy", FRAMES)
    return folder


@few_or_many(SHORT, LONG)
@pytest.mark.parametrize("script", PLAIN)
@pytest.mark.long
def test_damaged_commands(player: Player, tmp_path: Path, script: str, examples: int) -> None:
    ends = collections.Counter[str]()

    @settings(parent=QUIET, max_examples=examples)
    @given(overrides(script))
    def damage(typed: list[str]) -> None:
        judge(player, here(tmp_path / "here"), "config", [script, *typed, "hydra.run.dir=out"], ends)

    damage()
    fair(ends, examples, 0.08)


@few_or_many(5 * SHORT, WHOLE)
@pytest.mark.parametrize("script", PLAIN)
@pytest.mark.sampled(1)
def test_damaged_configs(player: Player, tmp_path: Path, script: str, examples: int) -> None:
    """A whole config as a file: quicker than composing it again, and damage reaches every key that there is."""
    ends = collections.Counter[str]()
    typed = ["checkpoint=a.npy", "input=a.npy"][: {"train": 0, "evaluate": 1, "upscale": 2}[script]]
    composed: Any = OmegaConf.to_container(compose_config(script, typed), resolve=True)

    @settings(parent=QUIET, max_examples=examples)
    @given(trees(composed).map(dumped).filter(bool))
    def damage(text: str) -> None:
        (here(tmp_path / "here") / "whole.yaml").write_text(text, encoding="utf-8")
        judge(player, tmp_path / "here", "whole", [script, "whole.yaml"], ends)

    damage()
    fair(ends, examples, 0.05)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("job", "examples"), [("config", LONG), ("train", TRAINED)])
def test_hundreds_of_damaged_yaml_files(player: Player, tmp_path: Path, job: str, examples: int) -> None:
    """A config of one's own, `experiment=own`, composed, checked, and as a `job` trained with."""
    ends = collections.Counter[str]()
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    own = tmp_path / "conf" / "experiment" / "own.yaml"
    data = ["data=climate", "data.path=a.npy", "data.axes=tyx", "experiment=own", "hydra.run.dir=out"]
    data.append(f"--config-dir={tmp_path / 'conf'}")

    @settings(parent=QUIET, max_examples=examples)
    @given(trees(OWN).map(dumped).filter(bool))
    def damage(text: str) -> None:
        own.write_text(f"# @package _global_\n{text}", encoding="utf-8")
        judge(player, here(tmp_path / "here"), job, ["train", *FEW, *data], ends)

    damage()
    fair(ends, examples, 0.08)
