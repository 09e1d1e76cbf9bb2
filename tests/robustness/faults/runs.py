"""Runs and the machines that they run on: items 27 to 31, 33 and 34."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

import numpy as np

from tests.data.datamodules.test_climate_files import flow
from tests.fakes import moving_pattern, write_y4m
from tests.robustness.faults.bench import TINY, Bench, at_step, evaluate, fault, field, here, save, train, upscale, video
from vsr.training.resume.checkpoints import read_checkpoint


def limited(size: int) -> str:
    """Python after which no file may grow beyond so many bytes, as on a full disk."""
    return f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))"


@fault("27-disk-full-while-checkpointing", ".ckpt: the checkpoint cannot be written", "make room", writes=True)
def _(bench: Bench) -> list[str]:
    bench.before = limited(20_000)
    return here(bench)


@fault("27-disk-full-while-upscaling", "b.npy", "disk is full")
def _(bench: Bench) -> list[str]:
    bench.before = limited(9000)
    return upscale(bench, save(bench, flow()), "axes=tyx", f"output={bench.here}/b.npy")


@fault("27-disk-full-while-evaluating", "cannot be written", "type hydra.run.dir=FOLDER", writes=True)
def _(bench: Bench) -> list[str]:
    bench.before = limited(4000)
    return evaluate(bench.checkpoint())


# Root may write anywhere; without its capabilities it may not.
POWERLESS = """
import ctypes
assert ctypes.CDLL(None).capset((ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()) == 0
"""


def locked_up(bench: Bench) -> Path:
    folder = bench.path / "sealed"
    folder.mkdir()
    folder.chmod(0o555)
    bench.before = POWERLESS
    return folder


fault("28-read-only-output-folder", "sealed", "Permission denied", "type hydra.run.dir=FOLDER")(
    lambda bench: train(*TINY, f"hydra.run.dir={locked_up(bench)}/run")
)


fault("28-read-only-folder-upscaled", "sealed", "output=")(
    lambda bench: upscale(bench, save(bench, flow()), "axes=tyx", f"output={locked_up(bench)}/b.npy")
)


fault("28-read-only-folder-for-generated-data", "sealed", "data.cache=")(
    lambda bench: train(*TINY, "data.seed=77", f"data.cache={locked_up(bench)}")
)


@fault("28-unreadable-input", "a.npy", "check its permissions")
def _(bench: Bench) -> list[str]:
    path = save(bench, flow())
    path.chmod(0)
    bench.before = POWERLESS
    return field(path)


@fault("28-unreadable-video", "a.y4m", "check its permissions")
def _(bench: Bench) -> list[str]:
    write_y4m(bench.path / "a.y4m", moving_pattern(20)).chmod(0)
    bench.before = POWERLESS
    return video(bench.path / "a.y4m")


@fault("28-unreadable-checkpoint", "best.ckpt")
def _(bench: Bench) -> list[str]:
    path = bench.checkpoint()
    path.chmod(0)
    bench.before = POWERLESS
    return evaluate(path)


@fault("28-output-folder-is-a-file", "taken: File exists", "type hydra.run.dir=FOLDER")
def _(bench: Bench) -> list[str]:
    (bench.here / "taken").write_text("mine")
    return train(*TINY, "hydra.run.dir=taken")


@fault("28-output-is-a-folder-upscaled", "taken.npy", "output")
def _(bench: Bench) -> list[str]:
    (bench.here / "taken.npy").mkdir()
    return upscale(bench, save(bench, flow()), "axes=tyx", "output=taken.npy")


@fault("28-output-that-exists-is-kept", "b.npy: exists", "overwrite=true")
def _(bench: Bench) -> list[str]:
    (bench.here / "b.npy").write_bytes(b"mine")
    return upscale(bench, save(bench, flow()), "axes=tyx", "output=b.npy")


@fault("28-output-folder-removed-while-running", "fsrcnn_s", status=0)
def _(bench: Bench) -> list[str]:
    """It is made again; what later steps write is there."""
    bench.after = whole
    bench.before = at_step(6, "shutil.rmtree('run')")
    return here(bench)


def whole(bench: Bench) -> None:
    """The newest checkpoint can be read."""
    read_checkpoint(bench.here / "run" / "checkpoints" / "last.ckpt")


for sent, number in (("SIGTERM", 143), ("SIGINT", 130), ("SIGKILL", -9)):
    for place in ("training_step", "validation_step"):

        def stopped(bench: Bench, sent: str = sent, place: str = place) -> list[str]:
            bench.before = at_step(6, f"os.kill(os.getpid(), signal.{sent})", place)
            bench.after = whole
            return here(bench, "checkpoint_steps=2")

        told = () if sent == "SIGKILL" else (f"stopped by {sent}", "to continue: vsr train resume=run")
        fault(f"29-{sent.lower()}-in-{place.replace('_', '-')}", *told, status=number, writes=True)(stopped)


@fault("29-sigkill-in-a-checkpoint", status=-9, writes=True)
def _(bench: Bench) -> list[str]:
    bench.before = """
import os, signal
def strike(*arguments, real=os.replace, count=[0], **options):
    if str(arguments[1]).endswith("last.ckpt"):
        count[0] += 1
        if count[0] == 3:
            os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments, **options)
os.replace = strike
"""
    bench.after = whole
    return here(bench, "checkpoint_steps=2")


@fault("30-more-memory-than-there-is", "memory", "a.npy")
def _(bench: Bench) -> list[str]:
    with (bench.path / "a.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (400, 1024, 1024)})
        file.truncate(file.tell() + 4 * 400 * 1024 * 1024)
    bench.before = "import resource; size = int(open('/proc/self/statm').read().split()[0]) * 4096 + (3 << 29)\n"
    bench.before += "resource.setrlimit(resource.RLIMIT_AS, (size, size))"
    return field(bench.path / "a.npy", "data.memory=4096")


fault("31-exploding-loss", "the loss is", "try a lower recipe.rate than 1e+30", writes=True)(
    lambda bench: here(bench, "recipe.rate=1e30", "recipe.clip=null")
)


@fault("31-loss-that-is-no-number", "the loss is nan in epoch 2", "the checkpoints of earlier epochs are kept", writes=True)
def _(bench: Bench) -> list[str]:
    bench.before = at_step(6, "[weight.data.fill_(float('nan')) for weight in arguments[0].network.parameters()]")
    bench.after = whole
    return here(bench, "checkpoint_steps=2")


@fault("33-two-runs-in-a-folder", "another run writes here (process 1 on elsewhere)", "type hydra.run.dir=FOLDER")
def _(bench: Bench) -> list[str]:
    run = bench.stopped_run()
    (run / "run.lock").write_text("process 1 on elsewhere\n")
    bench.lock = os.open(run / "run.lock", os.O_RDWR)
    fcntl.flock(bench.lock, fcntl.LOCK_EX)
    return train(*TINY, f"hydra.run.dir={run}")


@fault("34-the-same-second-twice", "holds a run already; type hydra.run.dir=FOLDER to write elsewhere")
def _(bench: Bench) -> list[str]:
    bench.before = "import datetime, types; import hydra.core.utils as u; moment = datetime.datetime(2001, 9, 9, 1, 46, 40)\n"
    bench.before += "u.datetime = types.SimpleNamespace(now=lambda: moment)"
    folder = bench.here / "runs" / "fsrcnn-climate" / "2001-09-09_01-46-40"
    folder.parent.mkdir(parents=True)
    shutil.move(bench.run(), folder)
    return train(*TINY)


@fault("34-clock-that-runs-backwards", "fsrcnn_s", status=0)
def _(bench: Bench) -> list[str]:
    bench.before = "import itertools, time; steps = itertools.count(); time.time = lambda: 2e9 - 10.0 * next(steps)"
    return here(bench)
