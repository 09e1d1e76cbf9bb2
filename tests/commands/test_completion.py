"""Tab completion in bash, with the lines of the guide."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.fakes import ROOT
from tests.processes import run_process


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["vsr", "tr"], {"train"}),
        (["vsr", "train", "model=fsrcnn_"], {"model=fsrcnn_56", "model=fsrcnn_s"}),
        (["vsr", "train", "scale=2", "recipe.sched"], {"recipe.schedule="}),
        (["vsr", "inspect", "a"], set()),
    ],
)
def test_bash_completes_commands_groups_and_keys(words: list[str], found: set[str], tmp_path: Path) -> None:
    [code] = re.findall(r"```bash\n(.*?)```", (ROOT / "docs" / "guides" / "completion.md").read_text(), re.S)
    command = tmp_path / "vsr"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m vsr "$@"\n')
    command.chmod(0o755)
    line = " ".join(words)
    script = f"{code}\nCOMP_WORDS=({line}) COMP_CWORD={len(words) - 1} COMP_LINE='{line}' COMP_POINT={len(line)}\n_vsr\n"
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    done = run_process(
        ["bash", "-c", script + 'printf "%s\\n" "${COMPREPLY[@]}"'], env=environment, capture_output=True, text=True
    )
    assert set(done.stdout.split()) == found, done.stderr
