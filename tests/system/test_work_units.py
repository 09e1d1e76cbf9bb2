"""Units of work that several processes share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.fakes import ROOT
from vsr.system import work_units
from vsr.system.work_units import WorkUnits


def units_of(folder: Path, count: int = 5) -> WorkUnits:
    return WorkUnits.create(folder / "units", {"units": count})


def test_each_unit_is_claimed_once(tmp_path: Path) -> None:
    first, found = units_of(tmp_path, 200), list[int]()
    lock = threading.Lock()

    def work() -> None:
        units = WorkUnits(first.folder)
        while (number := units.claim()) is not None:
            with lock:
                found.append(number)
            units.complete(number)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(200))
    assert not first.left()
    progress = first.progress()
    assert (progress.done, progress.running, progress.failed) == (200, 0, {})
    assert progress.rate is not None
    assert progress.rate > 0


def test_creating_twice_opens_what_is_there(tmp_path: Path) -> None:
    units_of(tmp_path).complete(3)
    again = units_of(tmp_path)
    assert again.progress().done == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["units"]


def test_a_claim_of_a_dead_process_is_void_at_once(tmp_path: Path) -> None:
    units = units_of(tmp_path, 1)
    code = (
        f"from pathlib import Path; from vsr.system.work_units import WorkUnits; WorkUnits(Path({str(units.folder)!r})).claim()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
    assert list((units.folder / "units").iterdir())
    assert units.claim() == 0
    assert WorkUnits(units.folder).claim() is None  # this process lives


def test_a_claim_of_another_machine_is_void_without_a_sign_of_life(tmp_path: Path) -> None:
    units = units_of(tmp_path, 1)
    claim = units.folder / "units" / "0.claim"
    claim.write_text(json.dumps({"place": ["another machine"], "pid": 1, "started": "1"}))
    assert units.claim() is None
    assert units.progress().running == 1
    old = time.time() - work_units.EXPIRY - 1
    os.utime(claim, (old, old))
    assert units.claim() == 0


def test_signs_of_life_keep_a_claim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work_units, "HEARTBEAT", 0.01)
    units = units_of(tmp_path, 1)
    assert units.claim() == 0
    claim = units.folder / "units" / "0.claim"
    os.utime(claim, (1, 1))
    with units.signs_of_life(0):
        while claim.stat().st_mtime < 2:
            time.sleep(0.01)
    assert units.claim() is None


def test_a_torn_claim_blocks_nobody_for_ever(tmp_path: Path) -> None:
    units = units_of(tmp_path, 1)
    claim = units.folder / "units" / "0.claim"
    claim.write_text('{"pla')
    assert units.claim() is None  # it may be being written
    os.utime(claim, (1, 1))
    assert units.claim() == 0


def test_failed_units_are_told_and_tried_again_when_asked(tmp_path: Path) -> None:
    units = units_of(tmp_path, 2)
    assert units.claim() == 0
    units.fail(0, "chunk 3 is damaged")
    assert units.claim() == 1
    units.complete(1)
    assert not units.left()
    assert units.progress().failed == {0: "chunk 3 is damaged"}
    units.retry_failed()
    assert units.claim() == 0


def test_a_folder_that_another_process_removed_holds_no_work(tmp_path: Path) -> None:
    units = units_of(tmp_path, 2)
    for path in (*(units.folder / "units").iterdir(), units.folder / "units", units.folder / "plan.json", units.folder):
        path.rmdir() if path.is_dir() else path.unlink()
    assert (units.claim(), units.left(), units.progress().done) == (None, False, 2)
