"""Sweeps over a script that takes a third of a second."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import CONF, ROOT
from tests.processes import start_process
from vsr.commands.app import run_app_with_sweep
from vsr.errors import UserError

FAKE = Path(__file__).parent / "train.py"


@dataclass
class Swept:
    """How a sweep ended: its exit status, what it printed, and what it left."""

    status: int
    out: str
    errors: str
    folder: Path

    @property
    def jobs(self) -> dict[int, dict[str, Any]]:
        return {job["number"]: job for job in json.loads((self.folder / "sweep.json").read_text())["jobs"]}

    def started(self) -> list[str]:
        """The numbers of the runs that were started, each time that they were."""
        return [line.split()[0] for line in (self.folder / "started.txt").read_text().splitlines()]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Swept]:
    """What -m does, with the quick script in place of train.py."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr("vsr.system.jobs.POLL", 0.02)

    def start(*arguments: str) -> Swept:
        out, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
            try:
                status = run_app_with_sweep(FAKE, CONF, ["-m", *arguments, "hydra.sweep.dir=sweep"])
            except UserError as error:
                status = 1
                errors.write(f"error: {error}\n")
        return Swept(status, out.getvalue(), errors.getvalue(), tmp_path / "sweep")

    return start


@pytest.fixture
def begin(tmp_path: Path) -> Callable[..., subprocess.Popen[bytes]]:
    """The same in a process of its own, that can be killed."""

    def start(*arguments: str) -> subprocess.Popen[bytes]:
        code = "import sys; from pathlib import Path; from vsr.commands.app import run_app_with_sweep; "
        code += "sys.exit(run_app_with_sweep(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]))"
        command = [sys.executable, "-c", code, str(FAKE), str(CONF), "-m", *arguments, "hydra.sweep.dir=sweep"]
        return start_process(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, start_new_session=True)

    return start
