"""Start of the commands train, evaluate and upscale: Hydra composes and vsr checks the config, then the task runs.

Mistakes are reported in one line; mistakes on the command line are reported before torch is imported.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from vsr.config import CONF
from vsr.config.check import check_config
from vsr.config.command_log import HYDRA_FOLDER, CommandLog
from vsr.config.duration import PLAN
from vsr.config.messages import missing_choice_message, one_line_message
from vsr.config.overrides import options_before_overrides
from vsr.config.plugins import apply_plugins, choices_with_plugins, take_plugins
from vsr.config.run_record import RECORD, expand_recorded_overrides
from vsr.config.schema import register_schemas
from vsr.errors import UserError
from vsr.system.lock import FolderInUse, locked_folder
from vsr.system.progress import printing
from vsr.system.signals import Stopped
from vsr.system.torchrun import torchrun_rank

PATHS = ("checkpoint", "input", "output", "resume")
SWEEP = {"-m", "--multirun"}
MOST_EVALUATED = 8  # runs of a sweep in the command that scores them
# Messages of torch, for GPUs and for main memory, and advice by command.
OUT_OF_MEMORY = re.compile(r"out of memory|can't allocate memory")
LESS_MEMORY = {
    "train": "type a smaller recipe.batch=N or recipe.patch=N, or give smaller frames",
    "evaluate": "type strategy=cpu, or data=... of smaller frames",
    "upscale": "type memory=128 and a smaller tile=N",
}
MOST_USED = ("preset", "model", "data", "degradation", "strategy", "logger", "recipe")  # config groups, in the order of --help
Task = Callable[[DictConfig, Path], None]


def run_hydra_app(name: str, task: Task) -> None:
    """Compose the config of a command from `sys.argv`, check the config, and run a task with it.

    Exits with status 1 after a mistake of the user and 130 after Ctrl-C. Sweeps (-m) run each job in a process of its own.

    Args:
        name: Name of the command: "train", "evaluate" or "upscale".
        task: Function that is called with the config and the output folder.
    """
    try:
        if {"-sc", "--shell-completion"} & set(sys.argv[1:]):
            with suppress(UserError):
                take_plugins(os.environ.get("COMP_LINE", "").split())
        arguments = take_plugins(sys.argv[1:])
        if {"--help", "-h"} & set(arguments):
            with printing():
                print(_help(name, everything="all" in arguments))
            return
        arguments = expand_recorded_overrides(arguments) if name == "train" else arguments
        arguments = options_before_overrides(name, arguments)
        sys.argv[1:] = _arguments_of_rank(_quote_paths(arguments, several=name == "evaluate"))
    except UserError as error:
        _fail(str(error))
    if SWEEP & set(sys.argv[1:]):
        _sweep(name)
    register_schemas()
    # Hydra then raises its errors instead of printing them over several lines.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    composed = False

    @hydra.main(version_base="1.3", config_path=str(CONF), config_name=name)
    def main(cfg: DictConfig) -> None:
        nonlocal composed
        composed = True
        _run(name, task, cfg)

    try:
        main()
    except (HydraException, OmegaConfBaseException) as error:
        _fail(one_line_message(error, CONF, name))
    except (TypeError, ValueError) as error:  # raised by Hydra for a choice that is not a name
        if composed:
            raise
        _fail(missing_choice_message() or one_line_message(error, CONF, name))
    except OSError as error:
        _fail(_describe_unwritable(error))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def _run(name: str, task: Task, cfg: DictConfig) -> None:
    """Check the config, run the task, and report errors before Hydra can print a line of its own."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    fresh = not any(folder.iterdir())
    CommandLog(folder, cfg)
    try:
        if HydraConfig.get().mode != RunMode.RUN:
            raise UserError("hydra.mode: type -m to sweep")
        if cfg.get("hparams_search") is not None:
            raise UserError("hparams_search: a search is of many runs; type -m with it")
        apply_plugins(cfg)
        check_config(cfg)
        task(cfg, folder)
    except FolderInUse as error:
        _fail(str(error))
    except UserError as error:
        if fresh:
            _remove_empty_run(folder)
        _fail(str(error))
    except OSError as error:
        _fail(_describe_unwritable(error))
    except Stopped as stopped:
        print(stopped.message, file=sys.stderr)
        sys.exit(stopped.status)
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not OUT_OF_MEMORY.search(str(error)):
            raise
        _fail(f"out of memory ({(str(error).splitlines() or ['of the machine'])[0]}); {LESS_MEMORY[name]}")


def _arguments_of_rank(arguments: list[str]) -> list[str]:
    """Keep torchrun's ranks other than 0 from making a folder and a log: they get the folder of rank 0 later."""
    outside = torchrun_rank()
    if outside is not None and outside.world > 1 and SWEEP & set(arguments):
        _fail("-m: torchrun starts one run; type vsr train -m strategy=ddp_spawn trainer.devices=N")
    if outside is None or outside.rank == 0:
        return arguments
    return [*arguments, "hydra.run.dir=.", "hydra.output_subdir=null", "hydra/job_logging=disabled"]


def run_app_with_sweep(script: Path, conf: Path, arguments: Sequence[str]) -> int:
    """Run the jobs of a sweep in fresh processes and print their errors. If the jobs train, also compare the finished runs.

    Args:
        script: Path of train.py or evaluate.py.
        conf: The folder of the configs.
        arguments: The command line, with -m.

    Returns:
        The exit status: 1 if a job failed (in a search: if all jobs failed), otherwise 0.
    """
    from vsr.sweeps.sweep import run_sweep

    folder, failed = run_sweep(script, conf, arguments)
    if script.stem == "train":
        from vsr.evaluation.compare.runs import keys_distinguishing_runs, read_compared_sweep
        from vsr.evaluation.compare.write import write_comparison

        if runs := read_compared_sweep(folder):
            command, keys = shlex.join(["vsr", script.stem, *arguments]), ", ".join(keys_distinguishing_runs(runs))
            print(write_comparison(folder, runs, title=f"Sweep over {keys or 'seed'}", command=command))
            print(f"summary   {folder / 'summary.html'}, summary.md, summary.csv; tensorboard --logdir {folder}")
            best = [str(run.folder / "checkpoints" / "best.ckpt") for run in runs if run.state == "ok"]
            print(f"next      vsr evaluate checkpoint={','.join(best[:MOST_EVALUATED])}", flush=True)
    for line in failed:
        print(f"error: {line}", file=sys.stderr)
    return 1 if failed else 0


def _sweep(name: str) -> NoReturn:
    """Run a sweep and exit. Hydra's own multirun would put all runs in one process, and each rank would repeat the sweep."""
    try:
        sys.exit(run_app_with_sweep(CONF.parent / f"{name}.py", CONF, sys.argv[1:]))
    except UserError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        print("interrupted; type the same again for what is missing", file=sys.stderr)
        sys.exit(130)


def _quote_paths(arguments: list[str], several: bool) -> list[str]:
    """Quote the values of the keys in PATHS for Hydra's grammar, so that file names may hold blanks, = and brackets.

    With `several`, checkpoints between commas become a list, unless -m sweeps over them. Quoted values and lists stay
    unchanged.
    """
    quoted = []
    sweep = bool(SWEEP & set(arguments))
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if equals and key in PATHS and value and value not in ("null", "???") and value[0] not in "['\"$":
            parts = value.split(",") if (key == "checkpoint" and several) or sweep else [value]
            names = [f"'{name}'" if "'" not in name else f'"{name}"' for name in parts if name]
            value = names[0] if len(names) == 1 else ",".join(names) if sweep else f"[{','.join(names)}]"
        quoted.append(f"{key}={value}" if equals else argument)
    return quoted


def _help(name: str, everything: bool = False) -> str:
    """Return the help text of a command, made from the config folder. (Hydra's own is slow and lists internal groups.)

    Args:
        name: Name of the command.
        everything: List the experiments, too, which are runs of the report and of the package's networks.
    """
    main = (CONF / f"{name}.yaml").read_text(encoding="utf-8")
    groups = re.findall(r"^  - (\w+): (\w+)", main, re.M)
    groups.sort(key=lambda group: MOST_USED.index(group[0]) if group[0] in MOST_USED else len(MOST_USED))
    lines = [main.splitlines()[0].lstrip("# ")]
    for group, default in groups:
        choices = choices_with_plugins(group)
        if group == "hydra" or len(choices) + (default == "null") < 2:
            continue
        if len(lines) == 1:
            lines += ["", "Groups (group=choice; the default comes first):"]
        words = [default, *(c for c in choices if c != default)]
        if group == "experiment" and not everything:
            words = [default, f"({len(words) - 1} more: vsr {name} --help all)"]
        lines.append(f"  {group:<14} {' '.join(words)}")
    scalars = re.split(r"^(?=\w)", main, flags=re.M, maxsplit=2)[2]
    lines += ["", "Keys (key=value; keys inside a group as group.key=value):"]
    lines += [f"  {line}" for line in scalars.splitlines()]
    lines += ["", f"vsr {name} --cfg job [overrides] prints the whole config."]
    lines += ["-m sweeps over comma-separated values, jobs=N of the runs at a time."]
    return "\n".join(lines)


def _remove_empty_run(folder: Path) -> None:
    """Remove an output folder that holds only logs of its start and that no process uses, and its parents left empty."""
    if (
        folder.is_dir()
        and folder != Path.cwd()
        and all(entry.name in (HYDRA_FOLDER, RECORD, PLAN) or entry.suffix in (".log", ".lock") for entry in folder.iterdir())
    ):
        try:
            with locked_folder(folder):
                shutil.rmtree(folder)
        except FolderInUse:
            return
        for parent in folder.parents[:3]:
            if any(parent.iterdir()) or parent == Path.cwd():
                break
            parent.rmdir()


def _describe_unwritable(error: OSError) -> str:
    """Return the message for a file that cannot be written. An error that names no file is a bug and is raised again."""
    if error.filename is None:
        raise error
    return f"{error.filename}: {error.strerror}; type hydra.run.dir=FOLDER to write elsewhere"


def _fail(message: str) -> NoReturn:
    outside = torchrun_rank()
    if outside is not None and outside.rank > 0:
        time.sleep(3.0)  # the first rank may fail in the same way; torchrun then ends this rank before the message is repeated
    print(f"error: {UserError(message)}", file=sys.stderr)
    sys.exit(1)
