"""Checkpoints, weights and the configs in them: items 23 to 26."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml

from tests.data.datamodules.test_climate_files import flow
from tests.robustness.faults.bench import TINY, Bench, cut, evaluate, fault, save, train
from tests.training.resume.test_checkpoints import Mark


def changed(bench: Bench, change: Callable[[dict[str, Any]], None]) -> Path:
    """The checkpoint with other contents, and no checksum beside it."""
    path = bench.checkpoint()
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)
    path.with_name("best.ckpt.sha256").unlink()
    return path


fault("23-another-model", "best.ckpt: its tensors are not those of the network that it names")(
    lambda bench: evaluate(changed(bench, lambda c: c["vsr"]["config"].update(model={"_target_": "vsr.models.srcnn.SRCNN"})))
)
fault("23-another-model-to-start-from", "best.ckpt: none of its 14 tensors fits this network")(
    lambda bench: train(*TINY, "model=srcnn", "init=checkpoint", f"init.path={bench.checkpoint()}")
)
fault("23-another-scale-to-start-from", "best.ckpt", "scale", "mismatch=")(
    lambda bench: train(*TINY, "model=fsrcnn_s", "scale=3", "init=checkpoint", f"init.path={bench.checkpoint()}")
)
fault("23-another-model-to-resume", "run: holds a finished run with", "type hydra.run.dir=FOLDER")(
    lambda bench: train(*TINY, "model=srcnn", f"hydra.run.dir={bench.run()}", "resume=auto")
)


@fault("23-a-newer-version", "its description is incomplete", "it was not written by this version")
def _(bench: Bench) -> list[str]:
    def newer(content: dict[str, Any]) -> None:
        content["vsr"] = {"version": "99.0", "settings": content["vsr"]["config"]}

    return evaluate(changed(bench, newer))


fault("23-a-newer-recipe", "recipe.warp: unknown")(
    lambda bench: evaluate(changed(bench, lambda c: c["vsr"]["config"]["recipe"].update(warp=1)))
)


@fault("23-weights-alone", "best.ckpt: not a checkpoint of vsr (it lacks the keys state_dict and vsr)")
def _(bench: Bench) -> list[str]:
    path = bench.checkpoint()
    torch.save(torch.load(path, weights_only=True)["state_dict"], path)
    path.with_name("best.ckpt.sha256").unlink()
    return evaluate(path)


@fault("23-a-network-of-a-trillion-weights", "best.ckpt: its tensors are not those of the network that it names")
def _(bench: Bench) -> list[str]:
    def large(content: dict[str, Any]) -> None:
        content["vsr"]["config"]["model"] = {"_target_": "vsr.models.edsr.EDSR", "width": 100_000, "blocks": 100}

    return evaluate(changed(bench, large))


def nan(content: dict[str, Any]) -> None:
    next(v for k, v in content["state_dict"].items() if k.startswith("network.")).fill_(float("nan"))


fault("23-values-that-are-no-numbers", "fsrcnn_s: puts out values that are not finite", "train it again")(
    lambda bench: evaluate(changed(bench, nan))
)
fault("23-values-that-are-no-numbers-upscaled", "not finite")(
    lambda bench: ["upscale", f"checkpoint={changed(bench, nan)}", f"input={save(bench, flow())}", "axes=tyx"]
)


def damaged(name: str, damage: Callable[[bytes], bytes], said: str) -> None:
    """Rows of a checkpoint that is damaged, met by each script."""

    def harm(bench: Bench) -> Path:
        path = bench.checkpoint()
        path.write_bytes(damage(path.read_bytes()))
        return path

    fault(f"24-{name}-evaluated", "best.ckpt: ", said)(lambda bench: evaluate(harm(bench)))

    fault(f"24-{name}-upscaled", "best.ckpt: ", said)(
        lambda bench: ["upscale", f"checkpoint={harm(bench)}", f"input={save(bench, flow())}", "axes=tyx"]
    )
    start = [*TINY, "model=fsrcnn_s", "init=checkpoint"]
    fault(f"24-{name}-to-start-from", "best.ckpt: ")(lambda bench: train(*start, f"init.path={harm(bench)}"))

    def resumed(bench: Bench) -> list[str]:
        run = bench.stopped_run()
        last = run / "checkpoints" / "last.ckpt"
        last.write_bytes(damage(last.read_bytes()))
        return ["train", f"resume={run}"]

    fault(f"24-{name}-resumed", "last.ckpt: ", said, writes=True)(resumed)


def bit(raw: bytes) -> bytes:
    at = len(raw) // 3
    return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]


damaged("truncated", lambda raw: raw[: len(raw) // 2], "not a checkpoint, or damaged")
damaged("empty", lambda raw: b"", "not a checkpoint, or damaged")
damaged("flipped", bit, "damaged")


def pickled(bench: Bench) -> Path:
    path = bench.checkpoint()
    content = torch.load(path, weights_only=True)
    torch.save({**content, "callbacks": Mark(bench.mark)}, path)
    path.with_name("best.ckpt.sha256").unlink()
    return path


CODE = ("holds more than tensors", "could run code")


fault("25-pickle-evaluated", "best.ckpt: ", *CODE)(lambda bench: evaluate(pickled(bench)))


fault("25-pickle-upscaled", "best.ckpt: ", *CODE)(
    lambda bench: ["upscale", f"checkpoint={pickled(bench)}", f"input={save(bench, flow())}", "axes=tyx"]
)


fault("25-pickle-to-start-from", "best.ckpt: ", "code")(
    lambda bench: train(*TINY, "model=fsrcnn_s", "init=checkpoint", f"init.path={pickled(bench)}")
)


@fault("25-pickle-of-the-old-kind-to-start-from", "a.pt: ")
def _(bench: Bench) -> list[str]:
    (bench.path / "a.pt").write_bytes(pickle.dumps({"network.w": Mark(bench.mark)}))
    return train(*TINY, "model=fsrcnn_s", "init=checkpoint", f"init.path={bench.path}/a.pt")


@fault("25-pickle-resumed", "last.ckpt: ", *CODE, writes=True)
def _(bench: Bench) -> list[str]:
    run = bench.stopped_run()
    shutil.move(pickled(bench), run / "checkpoints" / "last.ckpt")
    (run / "results.json").unlink()
    (run / "checkpoints" / "last.ckpt.sha256").unlink()
    return ["train", f"resume={run}"]


@fault("25-exported-program-to-start-from", "a.pt2", "give a .ckpt, .pt, .pth or .safetensors file")
def _(bench: Bench) -> list[str]:
    (bench.path / "a.pt2").write_bytes(pickle.dumps(Mark(bench.mark)))
    return train(*TINY, "model=fsrcnn_s", "init=checkpoint", f"init.path={bench.path}/a.pt2")


def payload(bench: Bench, target: str = "os.system") -> dict[str, Any]:
    return {"_target_": target, "command": f"touch {bench.mark}"}


for node in ("model", "degradation", "recipe", "data"):

    def named(bench: Bench, node: str = node) -> list[str]:
        return evaluate(changed(bench, lambda c: c["vsr"]["config"].update({node: payload(bench)})))

    fault(f"25-target-in-{node}", f"{node}._target_=os.system: not a class that a config may name")(named)


@fault("25-target-deep-inside", "degradation.steps.a._target_=torch.utils.collect_env.run: not a class that a config may name")
def _(bench: Bench) -> list[str]:
    steps = {"_target_": "vsr.degradations.chain.Chain", "steps": {"a": payload(bench, "torch.utils.collect_env.run")}}
    return evaluate(changed(bench, lambda c: c["vsr"]["config"].update(degradation=steps)))


@fault("25-target-of-a-function-of-ours", "no such class")
def _(bench: Bench) -> list[str]:
    target = {"_target_": "vsr.data.cache.cache_path", "folder": str(bench.mark), "label": "a", "parameters": {}}
    return evaluate(changed(bench, lambda c: c["vsr"]["config"].update(degradation=target)))


@fault("25-target-through-a-module-of-ours", "no such class")
def _(bench: Bench) -> list[str]:
    target = payload(bench, "vsr.data.cache.os.system")
    return evaluate(changed(bench, lambda c: c["vsr"]["config"].update(degradation=target)))


@fault("25-target-by-interpolation", "best.ckpt: its config holds '${", "which is not filled in here")
def _(bench: Bench) -> list[str]:
    said = {"_target_": "${name}", "command": f"touch {bench.mark}"}
    return evaluate(changed(bench, lambda c: c["vsr"]["config"].update(name="os.system", degradation=said)))


fault("25-secret-of-the-environment", "best.ckpt: its config holds '${", "which is not filled in here")(
    lambda bench: evaluate(changed(bench, lambda c: c["vsr"]["config"].update(name="${oc.env:HOME}")))
)


@fault("25-instantiator-and-class-path", "fsrcnn_s", status=0)
def _(bench: Bench) -> list[str]:
    def hidden(content: dict[str, Any]) -> None:
        content["hyper_parameters"] = {"_instantiator": "os.system", "_class_path": "os.system", **payload(bench)}
        content["hparams_name"] = content["hparams_type"] = "os.system"

    return evaluate(changed(bench, hidden))


@fault("25-instantiator-resumed", "fsrcnn_s", status=0)
def _(bench: Bench) -> list[str]:
    run = bench.stopped_run()
    last = run / "checkpoints" / "last.ckpt"
    content = torch.load(last, weights_only=True)
    hidden = {"_instantiator": "os.system", "_class_path": "os.system", **payload(bench)}
    torch.save({**content, "hyper_parameters": hidden, "datamodule_hyper_parameters": hidden}, last)
    last.with_name("last.ckpt.sha256").unlink()
    shutil.move(run, bench.here / "run")
    return ["train", "resume=run"]


RESTART = ("run.json: ", "type the command that started the run")


def resumed_with(name: str, *overrides: str, says: tuple[str, ...] = RESTART) -> None:
    """A row of a run folder from elsewhere, in whose record more stands than train.py writes there."""

    def make(bench: Bench) -> list[str]:
        run = bench.stopped_run()
        record = json.loads((run / "run.json").read_text())
        record["overrides"] += [each.replace("MARK", str(bench.mark)) for each in overrides]
        (run / "run.json").write_text(json.dumps(record))
        return ["train", f"resume={run}"]

    fault(f"25-record-with-{name}", *says)(make)


resumed_with("a-callback-of-hydra", "+hydra.callbacks.a={_target_: torch.utils.collect_env.run, command: 'touch MARK'}")
resumed_with("a-log-handler", "+hydra.job_logging.handlers.a={'()': os.system, command: 'touch MARK'}")
resumed_with("a-config-folder", "--config-dir=/tmp")
resumed_with("a-sweep", "-m")
resumed_with("a-search-path", "hydra.searchpath=[file:///tmp]")
resumed_with("a-group-of-hydra", "hydra/launcher=submitit_local")
resumed_with("a-package-of-hydra", "+recipe@hydra.callbacks=default")
FOREIGN = "degradation._target_=os.system: not a class that a config may name"
resumed_with("a-target", "degradation._target_=os.system", says=(FOREIGN,))


@fault("25-hydras-notes-in-a-run-folder", "fsrcnn_s", status=0)
def _(bench: Bench) -> list[str]:
    """What Hydra wrote down of a run is for people; nothing reads it back."""
    run = bench.stopped_run()
    text = yaml.safe_dump({"hydra": {"callbacks": {"a": payload(bench)}}, "degradation": payload(bench)})
    for name in ("config.yaml", "hydra.yaml", "overrides.yaml"):
        (run / ".hydra" / name).write_text(text)
    shutil.move(run, bench.here / "run")
    return ["train", "resume=run"]


@fault("26-no-last-checkpoint", "was stopped before its first checkpoint, there is nothing to resume; start it again")
def _(bench: Bench) -> list[str]:
    run = bench.stopped_run()
    (run / "checkpoints" / "last.ckpt").unlink()
    return ["train", f"resume={run}"]


fault("26-no-run", "holds no run, there is nothing to resume")(lambda bench: ["train", f"resume={bench.here}"])
fault("26-no-folder", "resume=nowhere: there is no such folder or checkpoint")(lambda bench: ["train", "resume=nowhere"])
fault("26-finished", "the run is finished, there is nothing to resume; see")(lambda bench: ["train", f"resume={bench.run()}"])


@fault("26-half-a-record", "run.json: cannot be read; type the command that started the run")
def _(bench: Bench) -> list[str]:
    run = bench.stopped_run()
    cut(run / "run.json")
    return ["train", f"resume={run}"]
