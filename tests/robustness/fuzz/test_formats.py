"""Damaged files of every format end in finite values or in one line, in bounded time and memory; nothing on the disk changes."""

from __future__ import annotations

import collections
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings

import tests.robustness.fuzz.weight_formats  # noqa: F401  adds its own to FORMATS
from tests.robustness.fuzz.formats import FORMATS, Files, Format
from tests.robustness.fuzz.runner import Played, Player

SHORT, LONG = 24, 2000  # examples of each format
PEAK = 2600  # MiB that none may take: what is imported, and the runner's ROOM
NEVER_READ = ("mat4",)
QUIET = settings(
    deadline=None,
    database=None,
    derandomize=True,
    print_blob=True,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)


def write(folder: Path, files: Files) -> None:
    for name, raw in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(raw)


def there(folder: Path) -> Files:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def play(player: Player, folder: Path, form: Format, files: Files) -> Played:
    """In an empty folder that is as it was afterwards, but for the records of a run that goes on."""
    folder.mkdir()
    try:
        write(folder, files)
        done = player.play(folder, form.job, *form.arguments)
        left = there(folder)
        assert {name: left.get(name) for name in files} == files, "the command changed a file"
        assert left == files or form.job == "run", f"left behind: {sorted(set(left) - set(files))}"
        return done
    finally:
        shutil.rmtree(folder)


def few_or_many(few: int, many: int) -> pytest.MarkDecorator:
    """Run a test with few examples, and as a `long` test with many."""
    marks = [pytest.mark.long, pytest.mark.timeout(3600)]
    return pytest.mark.parametrize("examples", [few, pytest.param(many, marks=marks)])


@few_or_many(SHORT, LONG)
@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.sampled(12)
def test_damaged_files(player: Player, tmp_path: Path, name: str, examples: int) -> None:
    (tmp_path / "made").mkdir()
    form = FORMATS[name](tmp_path / "made")
    whole = play(player, tmp_path / "example", form, form.valid)
    assert whole.fine, whole
    assert whole.refused == (name in NEVER_READ), whole
    ends = collections.Counter[str]()

    @settings(parent=QUIET, max_examples=examples)
    @given(form.damaged)
    def damage(files: Files) -> None:
        done = play(player, tmp_path / "example", form, files)
        assert done.fine, f"{name}: status {done.status} after {done.seconds:.1f} s\n{done.stderr}"
        assert done.peak_mib < PEAK
        assert "\x1b" not in done.stdout + done.stderr
        ends["refused" if done.refused else "read"] += 1

    damage()
    if examples >= LONG:  # otherwise the few say little
        assert ends["refused"] >= 0.1 * examples, ends
        assert name in NEVER_READ or ends["read"] >= 0.03 * examples, ends
    assert ends["refused"], ends
