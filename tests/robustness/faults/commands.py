"""Command lines, hardware and names: items 21, 22 and 32."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.data.datamodules.test_climate_files import flow
from tests.io.readers.test_open import write_matlab73
from tests.robustness.faults.bench import TINY, Bench, at_step, fault, field, here, train, typed, upscale
from vsr.training.resume.checkpoints import read_checkpoint

typed("21-typo", "recipe.rat: unknown key; did you mean 'rate'?", arguments=["recipe.rat=1"])
typed("21-unknown-group", "modle: unknown key; did you mean 'model'?", arguments=["modle=fsrcnn"])
typed("21-unknown-choice", "model=fsrcn: no such config; did you mean 'fsrcnn'?", arguments=["model=fsrcn"])
typed("21-wrong-type", "scale=two: must be a whole number", arguments=["scale=two"])
typed("21-wrong-type-in-a-group", "recipe.batch=many: must be int", arguments=["recipe.batch=many"])
typed("21-out-of-range", "recipe.batch=-1: must be positive", arguments=["recipe.batch=-1"])
typed("21-infinite-rate", "recipe.rate=inf: must be positive and finite", arguments=["recipe.rate=inf"])
typed("21-rate-that-is-no-number", "recipe.rate=nan: must be positive and finite", arguments=["recipe.rate=nan"])
typed("21-interpolation-loop", "name", arguments=["name=${monitor}", "monitor=${name}"])
typed("21-interpolation-of-nothing", "nothing", arguments=["name=${nothing}"])
typed("21-two-values", "type -m to sweep over them", arguments=["seed=1,2"])
typed("21-foreign-target", "model._target_=os.system: not a class that a config may name", arguments=["model._target_=os.system"])
typed("21-unfinished-quote", "cannot be parsed", arguments=["name='a"])
typed("21-huge-number", "seed=99999999999999999999: must be 4294967295 or less", arguments=["seed=99999999999999999999"])


fault("21-missing-value", "checkpoint: needed; type checkpoint=VALUE")(lambda bench: ["evaluate"])
fault("21-missing-value-upscaled", "input: needed; type input=VALUE")(
    lambda bench: ["upscale", f"checkpoint={bench.checkpoint()}"]
)


@fault("22-no-gpu", "strategy=gpu: no GPU here", "type strategy=cpu")
def _(bench: Bench) -> list[str]:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    return ["train", *TINY, "strategy=gpu"]


@fault("22-no-gpu-upscaled", "device=cuda", "type device=cpu")
def _(bench: Bench) -> list[str]:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    np.save(bench.path / "a.npy", flow())
    return [*upscale(bench, bench.path / "a.npy", "axes=tyx")[:-2], "axes=tyx", "device=cuda"]


typed("22-half-precision-on-a-cpu", "precision=16: for GPUs", "type precision=bf16", arguments=["precision=16"])


fault("22-bf16-on-a-cpu", "fsrcnn_s", status=0)(lambda bench: here(bench, "precision=bf16"))


@fault("22-out-of-gpu-memory", "out of memory (CUDA out of memory. Tried", "type a smaller recipe.batch=N", writes=True)
def _(bench: Bench) -> list[str]:
    said = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 7.00 GiB"
    bench.before = at_step(3, f"raise torch.OutOfMemoryError({said!r})")
    return here(bench)


NAMES = ["a b", "ü", "a=1", "a,b", "a[1]", "x" * 200, "a'b", "a{b}", "$HOME", "50%s", "-a", "#a", "a:b", "a;b", "~a", "a\\b"]

for title in NAMES:

    def upscaled_in(bench: Bench, title: str = title) -> list[str]:
        """Typed in a shell as it is called."""
        folder = bench.path / title
        folder.mkdir()
        np.save(folder / f"{title}.npy", flow())
        run = shutil.move(bench.run(), folder / "run")
        files = [f"checkpoint={run}/checkpoints/best.ckpt", f"input={folder}/{title}.npy", f"output={bench.here}/{title}.npy"]
        bench.after = lambda bench: np.load(bench.here / f"{title}.npy") is None
        return ["upscale", *files, "axes=tyx", "device=cpu"]

    fault(f"32-upscaled-{title[:9]}", "result", status=0)(upscaled_in)

    def trained_in(bench: Bench, title: str = title) -> list[str]:
        """In Hydra's grammar, in quotes."""
        folder = bench.path / title
        folder.mkdir()
        np.save(folder / "a.npy", flow())
        name = title.replace("'", "\\'")
        return [*field(Path(f"{bench.path}/{name}/a.npy")), f"hydra.run.dir='{name}'"]

    fault(f"32-trained-{title[:9]}", "fsrcnn", status=0)(trained_in)


@fault("32-five-frames-of-matlab-7.3-by-an-odd-path-to-an-odd-folder", "fsrcnn", status=0)
def _(bench: Bench) -> list[str]:
    folder = bench.path / "a b" / "ü=1,[x]"
    folder.mkdir(parents=True)
    write_matlab73(folder / "v5 by name.mat", "H", flow(5).transpose(1, 2, 0))
    bench.after = lambda bench: read_checkpoint(bench.here / "out = 1" / "checkpoints" / "best.ckpt")
    split = ["data.learn=3", "data.test=2", "data.val=0.34", "hydra.run.dir='out = 1'"]
    return field(folder / "v5 by name.mat", *split, axes="yxt")


@fault("32-home", "result", status=0)
def _(bench: Bench) -> list[str]:
    np.save(bench.path / "a.npy", flow())
    bench.run()
    bench.environment = {"HOME": str(bench.path)}
    return ["upscale", "checkpoint=~/run/checkpoints/best.ckpt", "input=~/a.npy", "output=b.npy", "axes=tyx", "device=cpu"]


@fault("32-relative-and-symlinked", "result", status=0)
def _(bench: Bench) -> list[str]:
    np.save(bench.path / "a.npy", flow())
    (bench.path / "link.npy").symlink_to("a.npy")
    bench.run()
    return ["upscale", "checkpoint=../run/checkpoints/best.ckpt", "input=../link.npy", "output=b.npy", "axes=tyx", "device=cpu"]


@fault("32-symlink-to-nothing", "link.npy: no such file")
def _(bench: Bench) -> list[str]:
    (bench.path / "link.npy").symlink_to("nothing.npy")
    return upscale(bench, bench.path / "link.npy", "axes=tyx")


fault("32-name-beyond-what-the-system-takes", "File name too long", "hydra.run.dir=FOLDER")(
    lambda bench: train(*TINY, f"hydra.run.dir={'x' * 300}")
)
fault("32-input-name-beyond-what-the-system-takes", "data.path=xxx")(
    lambda bench: train("data=climate", f"data.path={'x' * 300}.npy")
)
