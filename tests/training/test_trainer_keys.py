"""Keys of Lightning's Trainer: what vsr honours, and what it decides itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import TINY_CLIMATE, compose_config, train_here
from vsr.config.check import DECIDED, check_config
from vsr.errors import UserError

QUICK = [*TINY_CLIMATE, "recipe.patch=8", "recipe.steps=4", "model=fsrcnn_s", "epochs=2", "patience=null", "logger=csv"]


def _psnr(results: dict[str, Any]) -> float:
    return results["rows"][-1]["psnr"]


def _steps(folder: Path) -> int:
    return max(int(line.split(",")[1]) for line in (folder / "metrics.csv").read_text().splitlines()[1:])


def test_keys_that_change_what_is_learned_are_honoured(tmp_path: Path) -> None:
    plain = train_here(tmp_path / "plain", QUICK)
    found = {}
    for key, steps in {"accumulate_grad_batches=2": 4, "limit_train_batches=3": 6, "gradient_clip_val=1e-6": 8}.items():
        folder = tmp_path / key.partition("=")[0]
        found[key] = _psnr(train_here(folder, [*QUICK, f"+trainer.{key}"]))
        assert _steps(folder) in (steps, steps - 1)
    assert len({_psnr(plain), *found.values()}) == 4
    with pytest.raises(UserError, match=r"trainer\.accumulate_grad_batches=2"):
        train_here(tmp_path / "accumulate_grad_batches", [*QUICK, "resume=auto"])


def test_keys_that_only_watch_change_no_number(tmp_path: Path) -> None:
    plain = train_here(tmp_path / "plain", QUICK)
    watched = train_here(tmp_path / "watched", [*QUICK, "+trainer.profiler=simple", "+trainer.log_every_n_steps=3"])
    assert _psnr(watched) == _psnr(plain)
    assert "run_training_batch" in (tmp_path / "watched" / "fit-profile.txt").read_text()


def test_fast_dev_run_is_a_short_run_with_checkpoints(tmp_path: Path) -> None:
    results = train_here(tmp_path, [*QUICK, "+trainer.fast_dev_run=2"])
    assert (results["config"]["epochs"], results["config"]["recipe"]["steps"]) == (1, 2)
    assert "fast_dev_run" not in results["config"]["trainer"]
    assert (tmp_path / "checkpoints" / "best.ckpt").exists()
    assert json.loads((tmp_path / "results.json").read_text())["rows"]


@pytest.mark.parametrize("key", sorted(DECIDED))
def test_keys_that_vsr_decides_are_refused(key: str) -> None:
    with pytest.raises(UserError, match=f"trainer.{key}: is decided by vsr; type "):
        check_config(compose_config("train", [f"+trainer.{key}=1"]))


def test_a_misspelt_key_gets_the_near_one() -> None:
    with pytest.raises(UserError, match=r"trainer.acumulate_grad_batches: unknown key; did you mean 'accumulate_grad_batches'\?"):
        check_config(compose_config("train", ["+trainer.acumulate_grad_batches=2"]))
