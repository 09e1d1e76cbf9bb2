"""Placement of a run: settings that the hardware lacks are refused in one line, before data are read."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.fakes import TINY_CLIMATE, choices, compose_config, train_here
from vsr.config.check import check_config
from vsr.errors import UserError
from vsr.training.hardware import check_hardware, hardware_placement

QUICK = [*TINY_CLIMATE, "recipe.patch=8", "recipe.steps=3", "epochs=1"]
no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="says what is said where there is no GPU")


def refusal(overrides: list[str]) -> str:
    cfg = compose_config("train", overrides)

    def checks() -> None:
        check_config(cfg)
        check_hardware(cfg)

    with pytest.raises(UserError) as caught:
        checks()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@no_gpu
@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["strategy=gpu"], ["strategy=gpu: no GPU here", "CPU of", "type strategy=cpu"]),
        (["strategy=ddp", "trainer.accelerator=gpu"], ["strategy=ddp trainer.accelerator=gpu: no GPU here"]),
        (["strategy=fsdp"], ["strategy=fsdp: shards weights over GPUs", "CPU of", "type strategy=ddp"]),
        (["precision=16"], ["precision=16: for GPUs", "type precision=bf16"]),
        (["tf32=true"], ["tf32=true: for GPUs from Ampere on", "type tf32=false"]),
        (["strategy=ddp", "trainer.devices=[0,1]"], ["a CPU has no numbers; type trainer.devices=2"]),
    ],
    ids=lambda case: " ".join(case),
)
def test_what_a_cpu_lacks_is_refused_with_what_there_is(overrides: list[str], said: list[str]) -> None:
    message = refusal(overrides)
    assert all(part in message for part in said), message


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["strategy=cpu", "trainer.devices=2"], "for one; type strategy=ddp trainer.devices=2"),
        (["strategy=ddp", "trainer.accelerator=cpu", "trainer.devices=3", "recipe.batch=2"], "recipe.batch=2: is that of all 3"),
        (["strategy=ddp", "trainer.accelerator=cpu", "trainer.num_nodes=2"], "trainer.num_nodes=2: torchrun joins nodes"),
        (["precision=fp16"], "precision=fp16; known: 16, 32, auto, bf16"),
        (["trainer.accelerator=gpus"], "trainer.accelerator=gpus; did you mean 'gpu'"),
        (["+trainer.precision=bf16-mixed"], "type precision=bf16"),
        (["trainer.devices=0"], "trainer.devices=0: must be how many, or which GPUs"),
        (["trainer.devices=[1,1]"], "must be how many"),
        (["trainer.devices=many"], "must be how many"),
        (["strategy=ddp", "trainer.num_nodes=0"], "trainer.num_nodes=0: must be 1 or more"),
    ],
    ids=lambda case: " ".join(case) if isinstance(case, list) else "",
)
def test_what_cannot_work_anywhere_is_refused(overrides: list[str], said: str) -> None:
    assert said in refusal(overrides)


def torchrun(monkeypatch: pytest.MonkeyPatch, local: int, nodes: int) -> None:
    values = {"RANK": 0, "WORLD_SIZE": local * nodes, "LOCAL_WORLD_SIZE": local, "TORCHELASTIC_RUN_ID": "none"}
    for name, value in values.items():
        monkeypatch.setenv(name, str(value))


def test_torchrun_says_how_many_processes_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    torchrun(monkeypatch, 2, 3)
    on_cpus = ["strategy=ddp", "trainer.accelerator=cpu"]
    placed = hardware_placement(compose_config("train", on_cpus).trainer)
    assert (placed.local, placed.nodes, placed.world) == (2, 3, 6)
    assert "torchrun started 2 processes on each of 3 nodes; leave both keys out" in refusal([*on_cpus, "trainer.devices=4"])
    assert "torchrun started 6 processes, and this strategy is for one; type strategy=ddp" in refusal(["strategy=cpu"])
    assert "type strategy=ddp" in refusal(["strategy=ddp_spawn", "trainer.accelerator=cpu"])


def test_bare_tasks_of_slurm_are_told_to_use_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
    assert "srun started 4 tasks; let it start one torchrun per node" in refusal(["strategy=ddp", "trainer.accelerator=cpu"])


def test_without_a_compiler_compiling_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "compile=true: torch.compile needs a C++ compiler, and there is no g++ or clang++" in refusal(
        ["compile=true", "strategy=cpu"]
    )


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert hardware_placement(compose_config("train", ["strategy=ddp"]).trainer).world == 2
    assert hardware_placement(compose_config("train", ["strategy=ddp", "trainer.devices=[1]"]).trainer).devices == [1]
    assert "trainer.devices=3: 2 GPUs here; type trainer.devices=2" in refusal(["strategy=ddp", "trainer.devices=3"])
    assert "trainer.devices=[2]: 2 GPUs here" in refusal(["strategy=gpu", "trainer.devices=[2]"])
    assert "here is 2 GPUs, on each of which every network here fits" in refusal(["strategy=fsdp"])


@pytest.mark.parametrize("strategy", choices("strategy"))
def test_every_strategy_trains_or_says_why_not(strategy: str, tmp_path: Path) -> None:
    overrides = [*QUICK, f"strategy={strategy}", "trainer.accelerator=auto"]
    if strategy == "fsdp" or (strategy == "gpu" and not torch.cuda.is_available()):
        with pytest.raises(UserError, match=f"strategy={strategy}"):
            train_here(tmp_path, [*overrides, *(["trainer.accelerator=gpu"] if strategy == "gpu" else [])])
    else:
        assert train_here(tmp_path, overrides)["rows"][-1]["psnr"] > 20


@pytest.mark.long
def test_precision_and_memory_format_change_what_is_trained_only_by_rounding(tmp_path: Path) -> None:
    plain, last, half = (
        train_here(tmp_path / name, [*QUICK, "epochs=2", *more])
        for name, more in {"a": [], "b": ["channels_last=true", "deterministic=true"], "c": ["precision=bf16"]}.items()
    )
    torch.use_deterministic_algorithms(False)
    assert last["rows"][-1]["psnr"] == pytest.approx(plain["rows"][-1]["psnr"], abs=1e-3)
    assert half["rows"][-1]["psnr"] == pytest.approx(plain["rows"][-1]["psnr"], abs=0.1)
    assert half["rows"][-1]["psnr"] != plain["rows"][-1]["psnr"]
    assert half["rows"][2] == plain["rows"][2]  # bicubic: scores are computed in single precision
