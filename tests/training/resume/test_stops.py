"""Signals and a full disk during a run, and the messages of the run."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from tests.fakes import ROOT, TINY_CLIMATE, train_here
from tests.processes import deadline, run_process, start_process, wait_until
from tests.training.resume.test_resume import QUICK, Steps, steps  # noqa: F401
from vsr.system.signals import Signals, Stopped
from vsr.training.resume.checkpoint_io import AtomicCheckpointIO
from vsr.training.resume.checkpoints import read_checkpoint
from vsr.training.run_folder import work_in_run_folder

ENDLESS = [*TINY_CLIMATE, "recipe.patch=8", "recipe.steps=50", "epochs=100000", "patience=null", "strategy=cpu"]


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_and_ends_with_its_status(sent: int, status: int, steps: Steps, tmp_path: Path) -> None:  # noqa: F811
    before = signal.getsignal(sent)
    steps.at, steps.signal = 8, signal.Signals(sent)
    with pytest.raises(Stopped) as stopped:
        train_here(tmp_path, QUICK)
    assert stopped.value.status == status
    assert stopped.value.message.endswith(f"saved at step 8; to continue: vsr train resume={tmp_path}")
    assert read_checkpoint(tmp_path / "checkpoints" / "last.ckpt")["global_step"] == 8
    assert signal.getsignal(sent) is before


def test_before_the_first_checkpoint_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vsr.training import fit as training

    real = training.build_module

    def stopping(*arguments: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return real(*arguments)

    monkeypatch.setattr(training, "build_module", stopping)
    with pytest.raises(Stopped) as stopped:
        train_here(tmp_path, QUICK)
    assert "before the first checkpoint; start it again with hydra.run.dir=" in stopped.value.message


def test_sigusr1_saves_and_training_goes_on(steps: Steps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    saved: list[int] = []
    real = AtomicCheckpointIO.save_checkpoint

    def noted(self: Any, content: dict[str, Any], path: Any, *more: Any, **options: Any) -> None:
        saved.extend([content["global_step"]] if Path(path).name == "last.ckpt" else [])
        real(self, content, path, *more, **options)

    monkeypatch.setattr(AtomicCheckpointIO, "save_checkpoint", noted)
    steps.at, steps.signal = 8, signal.SIGUSR1
    train_here(tmp_path, QUICK)
    assert saved == [5, 8, 20]  # after the first epoch, when asked, at the end


@pytest.mark.parametrize("array", [False, True])
def test_sigusr1_in_a_slurm_job_saves_and_puts_the_job_back(
    array: bool,
    steps: Steps,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "scontrol").write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\n')
    (tmp_path / "bin" / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    job = {
        "JOB_ID": "77",
        "NTASKS": "1",
        "JOB_NAME": "train",
        "PROCID": "0",
        "LOCALID": "0",
        "NODEID": "0",
        "NODELIST": "localhost",
    }
    for name, value in (job | ({"ARRAY_JOB_ID": "70", "ARRAY_TASK_ID": "3"} if array else {})).items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    steps.at, steps.signal = 8, signal.SIGUSR1
    with pytest.raises(Stopped) as stopped:
        train_here(tmp_path / "run", [*QUICK, "resume=auto"])
    name = "70_3" if array else "77"
    assert (tmp_path / "asked").read_text() == f"requeue {name}\n"
    assert f"stopped by SIGUSR1; job {name} is in the queue again; saved at step 8" in stopped.value.message
    train_here(tmp_path / "run", [*QUICK, "resume=auto"])
    assert steps.count == 20


def test_in_validation_a_signal_waits_for_its_end_but_not_long(
    steps: Steps,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("vsr.training.resume.state.GRACE", -1.0)
    steps.at = 10  # the last one of the second epoch: validation comes next
    with pytest.raises(Stopped) as stopped:
        train_here(tmp_path, QUICK)
    assert "saved at step 5;" in stopped.value.message


def test_outside_the_main_thread_signals_are_left_alone() -> None:
    import threading

    before, found = signal.getsignal(signal.SIGTERM), []

    def work() -> None:
        with Signals():
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [before]


@pytest.mark.long
def test_a_real_run_is_stopped_refused_to_others_and_continued_by_the_command_that_it_prints(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "train.py"), *ENDLESS, "hydra.run.dir='my runs/a=1'"]
    process = start_process(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    run = tmp_path / "my runs" / "a=1"
    last = run / "checkpoints" / "last.ckpt"
    wait_until(last.exists, 120, process)
    second = start_process(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    refused = second.communicate(timeout=deadline(60))[1]
    assert second.returncode == 1
    assert refused.startswith("error: ")
    assert f"another run writes here (process {process.pid} on " in refused
    process.send_signal(signal.SIGTERM)
    errors = process.communicate(timeout=deadline(60))[1]
    assert process.returncode == 143
    assert last.exists()
    continued = errors.strip().rpartition("to continue: vsr train ")[2]
    assert continued == "'resume=my runs/a=1'"
    step = read_checkpoint(last)["global_step"]
    third = start_process(
        [sys.executable, str(ROOT / "train.py"), "resume=my runs/a=1"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert third.stdout is not None
    lines = iter(third.stdout.readline, "")
    assert next(line for line in lines if line.startswith("resume ")) == f"resume    step {step}, from {last}\n"
    third.send_signal(signal.SIGINT)
    third.send_signal(signal.SIGINT)
    third.communicate(timeout=deadline(60))
    assert third.returncode == 130


# A run on a small file system that fills up in the middle, is resumed there, gets room, and is resumed again.
FULL = """
import logging, os, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from tests.fakes import train_here
from tests.kills import first_difference, outcome
from tests.training.resume.test_resume import QUICK
from vsr.training.resume.checkpoints import read_checkpoint
from vsr.errors import UserError
from vsr.training.modules.base import SRModule

logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stdout)
small, large, ballast = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[1]) / "ballast"
run, real, when = small / "run", SRModule.training_step, 8

def fill():
    with ballast.open("ab", buffering=0) as file:
        for size in (1 << 16, 512, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                pass

steps = 0
def step(module, batch, batch_idx):
    global steps
    steps += 1
    if steps == when:
        fill()
    return real(module, batch, batch_idx)

def attempt(overrides):
    try:
        train_here(run, overrides, figure=True)
        print("finished", flush=True)
    except UserError as error:
        print(f"error: {error}", flush=True)

SRModule.training_step = step
attempt([*QUICK, "resume=auto"])
print("kept", read_checkpoint(run / "checkpoints" / "last.ckpt")["global_step"], flush=True)
ballast.unlink()
when = 0
from vsr.training import run as module
figure = module.training_report_figure
def filling(*arguments):
    fill()
    figure(*arguments)
module.training_report_figure = filling
attempt([*QUICK, "resume=auto"])
print("results", (run / "results.json").exists(), sorted(p.suffix for p in run.glob(".*")), flush=True)
ballast.unlink()
module.training_report_figure = figure
attempt([*QUICK, "resume=auto"])
train_here(large / "whole", QUICK, figure=True)
from vsr.training.loggers import Dashboard
board = Dashboard(save_dir=str(small / "board"))
board.log_metrics({"a": 1.0}, 0)
fill()
for i in range(300):
    board.log_metrics({"a": 1.0}, i)
board.experiment.add_text("b", "c" * 10000)
board.log_hyperparams({"a": 1}, {"b": 1.0})
board.finalize("success")
late = Dashboard(save_dir=str(small / "late"))
late.log_metrics({"a": 1.0}, 0)
late.finalize("success")
print("boards", board.failed, late.failed, flush=True)
print("difference", first_difference(outcome(large / "whole"), outcome(run)), flush=True)
"""


@pytest.mark.long
def test_a_full_disk_costs_what_was_not_saved_and_no_more(tmp_path: Path) -> None:
    unshare, small = shutil.which("unshare"), tmp_path / "small"
    small.mkdir()
    mount = f"mount -t tmpfs -o size=1m none {small}"
    if unshare is None or run_process([unshare, "-rm", "sh", "-c", mount], capture_output=True).returncode:
        pytest.skip("no small file system can be mounted here")
    script = tmp_path / "full.py"
    # Processes that generate data load it as well.
    script.write_text("if __name__ == '__main__':\n" + textwrap.indent(FULL, "    "))
    command = [unshare, "-rm", "sh", "-c", f"{mount} && exec {sys.executable} {script} {small} {tmp_path}"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = run_process(command, capture_output=True, text=True, cwd=ROOT, timeout=200, env=environment)
    lines = done.stdout.splitlines()
    said = "\n".join(lines)
    assert done.returncode == 0, said + done.stderr
    assert "boards True True" in lines
    # Once for each, and for the run itself where its event file has not a page to fill before the checkpoint fails.
    assert said.count("TensorBoard: cannot be written ([Errno 28] No space left on device") in (2, 3)
    first, second = (line for line in lines if line.startswith("error: "))
    assert "checkpoint cannot be written" in first
    assert "(No space left on device); the previous one, of step 5, is kept; what" in first
    assert "; what came after step 5 is lost; make room, then: vsr train resume=" in first
    assert "kept 5" in lines
    assert "comparison.png: cannot be written (No space left on device)" in second
    assert "results False []" in lines
    assert "finished" in lines
    assert lines[-1] == "difference None"
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [0, 1])
def test_only_the_first_process_puts_a_job_back(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object) -> dict[str, object]:
        raise Stopped(signal.SIGUSR1)

    asked: list[str] = []
    monkeypatch.setattr("vsr.training.run_folder.current_rank", lambda: number)
    requeue = lambda: asked.append("once") or "job 7 is in the queue again"  # noqa: E731
    monkeypatch.setattr("vsr.training.run_folder.requeue_after_signal", requeue)
    with pytest.raises(Stopped) as caught:
        work_in_run_folder(OmegaConf.create({}), tmp_path, stopped)
    assert caught.value.status == 138
    assert asked == ["once"] * (number == 0)
