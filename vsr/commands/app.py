"""How the scripts start: Hydra composes, mistakes become one line, and nothing heavy is imported before they are found."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from vsr.config.check import check
from vsr.config.command_log import TYPED, Notes
from vsr.config.duration import PLAN
from vsr.config.messages import _no_choice, one_line
from vsr.config.run_record import RECORD, expanded
from vsr.config.schema import register
from vsr.errors import UserError
from vsr.system.lock import FolderInUse, locked
from vsr.system.signals import Stopped
from vsr.system.torchrun import started

PATHS = ("checkpoint", "input", "output", "resume")
# How torch says it, of GPUs and of the machine's own memory, and what needs less.
OUT_OF_MEMORY = re.compile(r"out of memory|can't allocate memory")
LESS = {
    "train": "type a smaller recipe.batch=N or recipe.patch=N, or give smaller frames",
    "evaluate": "type strategy=cpu, or data=... of smaller frames",
    "upscale": "type memory=128 and a smaller tile=N",
}
Task = Callable[[DictConfig, Path], None]


def launch(script: str, task: Task) -> None:
    """Run `task(cfg, output folder)` for the config named like the script; exits 1 after a user's mistake, 130 after Ctrl-C."""
    path = Path(script).resolve()
    conf = path.parent / "conf"
    if {"--help", "-h"} & set(sys.argv[1:]):
        print(_help(path, conf))
        return
    try:
        arguments = expanded(sys.argv[1:]) if path.stem == "train" else sys.argv[1:]
        sys.argv[1:] = _of_this_process(_paths_quoted(arguments, several=path.stem == "evaluate"))
    except UserError as error:
        _fail(str(error))
    if {"-m", "--multirun"} & set(sys.argv[1:]):
        _sweep(path, conf)
    register()
    # Hydra then raises what it would print over several lines; the lines below make one of it.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")

    composed = False

    @hydra.main(version_base="1.3", config_path=str(conf), config_name=path.stem)
    def main(cfg: DictConfig) -> None:
        nonlocal composed
        composed = True
        folder = Path(HydraConfig.get().runtime.output_dir)
        fresh = not any(folder.iterdir())
        Notes(folder, cfg)
        try:
            if HydraConfig.get().mode != RunMode.RUN:
                raise UserError("hydra.mode: type -m to sweep")
            if cfg.get("hparams_search") is not None:
                raise UserError("hparams_search: a search is of many runs; type -m with it")
            check(cfg)
            task(cfg, folder)
        except FolderInUse as error:
            _fail(str(error))
        except UserError as error:
            # Here and not outside: Hydra would print a line of its own before ours.
            if fresh:
                _forget(folder)
            _fail(str(error))
        except OSError as error:
            _fail(_unwritable(error))
        except Stopped as stopped:
            print(stopped.message, file=sys.stderr)
            sys.exit(stopped.status)
        except (MemoryError, RuntimeError) as error:
            if not isinstance(error, MemoryError) and not OUT_OF_MEMORY.search(str(error)):
                raise
            _fail(f"out of memory ({(str(error).splitlines() or ['of the machine'])[0]}); {LESS[path.stem]}")

    try:
        main()
    except (HydraException, OmegaConfBaseException) as error:
        _fail(one_line(error, conf, path.stem))
    except (TypeError, ValueError) as error:  # Hydra's own, of a choice that is no name
        if composed:
            raise
        _fail(_no_choice(conf) or one_line(error, conf, path.stem))
    except OSError as error:
        _fail(_unwritable(error))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def _of_this_process(arguments: list[str]) -> list[str]:
    """Under torchrun only the first process has a folder and a log; the others learn of its folder later."""
    outside = started()
    if outside is not None and outside.world > 1 and {"-m", "--multirun"} & set(arguments):
        _fail("-m: torchrun starts one run; type python train.py -m strategy=ddp_spawn trainer.devices=N")
    if outside is None or outside.rank == 0:
        return arguments
    return [*arguments, "hydra.run.dir=.", "hydra.output_subdir=null", "hydra/job_logging=disabled"]


def _sweep(script: Path, conf: Path) -> NoReturn:
    """Runs of the script in fresh processes: Hydra's own way has them share one, and the ranks of a run repeat the sweep."""
    from vsr.evaluation.compare.runs import sweep_runs
    from vsr.evaluation.compare.write import summarize
    from vsr.sweeps.sweep import sweep

    try:
        folder, failed = sweep(script, conf, sys.argv[1:])
        if script.stem == "train" and (runs := sweep_runs(folder)):
            command = shlex.join(["python", script.name, *sys.argv[1:]])
            print(summarize(folder, runs, title=f"Sweep {folder.name}", command=command))
            print(f"summary   {folder / 'summary.html'}, summary.md, summary.csv; tensorboard --logdir {folder}", flush=True)
        for line in failed:
            print(f"error: {line}", file=sys.stderr)
        sys.exit(1 if failed else 0)
    except UserError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        print("interrupted; type the same again for what is missing", file=sys.stderr)
        sys.exit(130)


def _paths_quoted(arguments: list[str], several: bool) -> list[str]:
    """Values of the keys that name files, as typed in a shell, in Hydra's grammar: blanks, = and brackets belong to the name.

    With `several`, checkpoints between commas are a list, unless -m sweeps over them. What is quoted or a list stays as it is.
    """
    found = []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if equals and key in PATHS and value and value not in ("null", "???") and value[0] not in "['\"$":
            sweep = bool({"-m", "--multirun"} & set(arguments))
            parts = value.split(",") if (key == "checkpoint" and several) or sweep else [value]
            names = [f"'{name}'" if "'" not in name else f'"{name}"' for name in parts if name]
            value = names[0] if len(names) == 1 else ",".join(names) if sweep else f"[{','.join(names)}]"
        found.append(f"{key}={value}" if equals else argument)
    return found


def _help(script: Path, conf: Path) -> str:
    """What can be typed, from the config folder itself (Hydra's own help lists its groups too and takes half a second)."""
    main = (conf / f"{script.stem}.yaml").read_text(encoding="utf-8")
    groups = re.findall(r"^  - (\w+): (\w+)", main, re.M)
    lines = [main.splitlines()[0].lstrip("# ")]
    for group, default in groups:
        choices = sorted(path.stem for path in (conf / group).glob("*.yaml"))
        if group == "hydra" or len(choices) + (default == "null") < 2:
            continue
        if len(lines) == 1:
            lines += ["", "Groups (group=choice; the default comes first):"]
        lines.append(f"  {group:<12} {' '.join([default, *(c for c in choices if c != default)])}")
    scalars = re.split(r"^(?=\w)", main, flags=re.M, maxsplit=2)[2]
    lines += ["", "Keys (key=value; keys inside a group as group.key=value):"]
    lines += [f"  {line}" for line in scalars.splitlines()]
    lines += ["", f"python {script.name} --cfg job [overrides] prints the whole config."]
    lines += ["-m sweeps over comma-separated values, jobs=N of the runs at a time."]
    return "\n".join(lines)


def _forget(folder: Path) -> None:
    """Remove an output folder in which nothing but how it was started has been written, and folders left empty by that.

    Unless another process works in it, which has come to the same empty folder since.
    """
    if (
        folder.is_dir()
        and folder != Path.cwd()
        and all(entry.name in (TYPED, RECORD, PLAN) or entry.suffix in (".log", ".lock") for entry in folder.iterdir())
    ):
        try:
            with locked(folder):
                shutil.rmtree(folder)
        except FolderInUse:
            return
        for parent in folder.parents[:3]:
            if any(parent.iterdir()) or parent == Path.cwd():
                break
            parent.rmdir()


def _unwritable(error: OSError) -> str:
    """What a file that the system refuses calls for; an error that names no file is not the user's, and is raised again."""
    if error.filename is None:
        raise error
    return f"{error.filename}: {error.strerror}; type hydra.run.dir=FOLDER to write elsewhere"


def _fail(message: str) -> NoReturn:
    outside = started()
    if outside is not None and outside.rank > 0:
        time.sleep(3.0)  # the first process may make the same mistake; then torchrun ends this one before it is said again
    print(f"error: {UserError(message)}", file=sys.stderr)
    sys.exit(1)
