"""Run commands as a user types them, each in a process of its own, without the seconds that imports take.

    python -m tests.warm

imports what the scripts import and then forks for every request, a line of JSON on its standard input.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fakes import ROOT
from tests.processes import deadline, die_with_parent, end_process, start_process

LIMIT = 60.0  # seconds after which a command hangs


@dataclass(frozen=True)
class Done:
    """A command that has ended. status: negative for a signal, None when it hung; peak_mib: its largest resident size."""

    status: int | None
    stdout: str
    stderr: str
    seconds: float
    peak_mib: float


class Warm:
    """The process that forks."""

    def __init__(self) -> None:
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        environment.pop("HYDRA_FULL_ERROR", None)
        self.process = start_process(
            [sys.executable, "-m", "tests.warm"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(
        self,
        folder: Path,
        script: str,
        *arguments: str,
        before: str = "",
        limit: float = LIMIT,
        figure: bool = False,
        **environment: str,
    ) -> Done:
        """Run a script of the top level, or a package or module of vsr by its name.

        Args:
            folder: the working directory.
            script: "train", "evaluate", "upscale", "vsr", or a dotted module.
            arguments: the command line.
            before: Python that runs first, in the same process.
            limit: seconds on a quiet machine after which the command hangs.
            figure: whether a training run draws its figure, which takes a third of the time of a tiny run.
            environment: variables on top of those of this process.
        """
        variables = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | environment
        request = {"cwd": str(folder), "argv": [script, *arguments], "env": variables, "before": before, "limit": limit}
        request["figure"] = figure
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return Done(**json.loads(self.process.stdout.readline()))

    def close(self) -> None:
        """End it."""
        end_process(self.process)


def _child(request: dict[str, Any], pipes: tuple[int, int]) -> None:
    """Run the command as a shell and an interpreter would."""
    status: Any = 0
    try:
        os.setsid()
        die_with_parent()
        os.chdir(request["cwd"])
        os.environ.clear()
        os.environ.update(request["env"])
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(pipes[0], 1)
        os.dup2(pipes[1], 2)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        script, *arguments = request["argv"]
        if not request["figure"]:
            import vsr.training.run

            vsr.training.run.training_report_figure = lambda *arguments: None
        exec(request["before"], {})
        if "." in script or script == "vsr":
            sys.argv = [script, *arguments]
            runpy.run_module(script, run_name="__main__", alter_sys=True)
        else:
            sys.argv = [str(ROOT / f"{script}.py"), *arguments]
            runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        status = end.code or 0
    except BaseException:
        traceback.print_exc()
        status = 1
    if not isinstance(status, int):
        print(status, file=sys.stderr)
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _serve(request: dict[str, Any]) -> dict[str, Any]:
    files = os.memfd_create("stdout"), os.memfd_create("stderr")
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        _child(request, files)
    while True:
        found, status, usage = os.wait4(child, os.WNOHANG)
        if found or time.monotonic() > began + deadline(request["limit"]):
            break
        time.sleep(0.005)
    seconds = time.monotonic() - began
    if not found:
        os.killpg(child, signal.SIGKILL)
        _, _, usage = os.wait4(child, 0)
    texts = []
    for file in files:
        os.lseek(file, 0, os.SEEK_SET)
        with os.fdopen(file, "rb") as stream:
            texts.append(stream.read().decode(errors="replace"))
    return {
        "status": os.waitstatus_to_exitcode(status) if found else None,
        "stdout": texts[0],
        "stderr": texts[1],
        "seconds": seconds,
        "peak_mib": usage.ru_maxrss / 1024,
    }


def main() -> None:
    """Import, then fork for each line."""
    import av  # noqa: F401
    import h5netcdf  # noqa: F401
    import matplotlib.backends.backend_agg  # noqa: F401
    import PIL.Image
    import scipy.io  # noqa: F401
    import torch.utils.tensorboard  # noqa: F401
    import xarray  # noqa: F401
    import zarr  # noqa: F401
    from hydra.core.plugins import Plugins

    import vsr.commands.app
    import vsr.data.datamodules.climate
    import vsr.evaluation.evaluate
    import vsr.inference.upscale_file
    import vsr.io.writers.hdf5
    import vsr.io.writers.netcdf
    import vsr.training.run  # noqa: F401

    PIL.Image.preinit()
    Plugins.instance()  # Hydra looks for them among all packages

    for line in sys.stdin:
        print(json.dumps(_serve(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
