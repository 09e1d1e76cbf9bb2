"""Bad inputs and faults, each met by a command in a process of its own: exit status, the one line that is said, nothing lost.

A row is a function that makes what is bad and returns the command that meets it. What the row made must be there afterwards, byte
for byte, and nothing besides; no mark that hostile content would leave.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.robustness.faults import (  # noqa: F401 - each module adds its rows
    arrays,
    checkpoints,
    commands,
    fields,
    pictures,
    runs,
    stores,
    sweeps,
)
from tests.robustness.faults.bench import ITEMS, PEAK, ROWS, TINY, Bench, train
from tests.warm import Done, Warm


@pytest.fixture(scope="session")
def trained(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    done = warm.run(folder, *train(*TINY, "model=fsrcnn_s", "hydra.run.dir=run"))
    assert done.status == 0, done.stderr
    return folder / "run"


@pytest.fixture
def bench(warm: Warm, trained: Path, tmp_path: Path) -> Bench:
    return Bench(tmp_path, trained, warm)


def contents(folder: Path) -> dict[str, bytes | str]:
    """Every file, link and empty folder below a folder."""
    found: dict[str, bytes | str] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_file():
            found[name] = path.read_bytes() if path.stat().st_mode & 0o400 else "unreadable"
        elif not any(path.iterdir()):
            found[name] = "empty folder"
    return found


def judge(done: Done, status: int, says: tuple[str, ...]) -> None:
    """Exit status, no traceback, and one line with all that must be said; in what was printed, where the command ended well."""
    assert done.status == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    assert "Error executing job" not in done.stderr
    assert done.peak_mib < PEAK
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    said = done.stdout + done.stderr
    if status == 1:
        assert len(lines) == 1, done.stderr
        assert done.stderr.rstrip().endswith(lines[0]), done.stderr
        said = lines[0]
    else:
        assert not lines
    for part in says:
        assert part in said


# What takes a third of a second each and guards against code and foreign files; of everything else the first row of an item.
ALWAYS = ("07", "19", "25", "26", "28")
FIRST = {name[:2]: name for name in reversed(ROWS)}


def marked(name: str) -> Any:
    """A row, `long` unless it is one of those that every run of the tests has."""
    quick = FIRST[name[:2]] == name or (name[:2] in ALWAYS and ROWS[name].status != 0)
    return pytest.param(name, marks=[] if quick and name[:2] != "30" else pytest.mark.long)


@pytest.mark.parametrize("name", [marked(name) for name in ROWS])
@pytest.mark.sampled(8)
def test_fault(name: str, bench: Bench) -> None:
    row = ROWS[name]
    command = row.make(bench)
    before = contents(bench.path)
    done = bench.warm.run(bench.here, *command, before=bench.before, **bench.environment)
    if bench.lock is not None:
        os.close(bench.lock)
    judge(done, row.status, row.says)
    assert not bench.mark.exists()
    after = contents(bench.path)

    def kept(found: dict[str, bytes | str]) -> dict[str, bytes | str]:
        # Notes of how a command was typed are those of the latest one carried out; one that goes on in `here` writes there.
        ends = ("run.lock", "train.log") if row.writes else ("run.lock",)
        notes = [name for name in found if name.endswith(ends) or (row.writes and "/.hydra/" in name)]
        return {name: found[name] for name in found if name in before and name not in notes and not name.startswith("here")}

    assert kept(after) == kept(before)
    bench.after(bench)
    unfinished = [name for name in after if name.endswith((".part", ".tmp"))]
    assert not unfinished or row.status == -9
    if not row.writes:
        assert after.keys() == before.keys()


def test_every_item_of_the_list_has_a_row() -> None:
    assert {name[:2] for name in ROWS} == ITEMS.keys()
