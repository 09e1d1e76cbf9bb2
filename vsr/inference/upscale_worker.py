"""Work on units of an upscaling, in a process (`python -m vsr.inference.upscale_worker SETTINGS.json`) or a Dask worker."""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from vsr.config.plugins import open_plugins
from vsr.config.schema import UpscaleSchema
from vsr.errors import UserError
from vsr.inference.archive import Work, join_units
from vsr.inference.upscale_file import open_work
from vsr.system.cpu import usable_cores
from vsr.system.work_units import WorkUnits

WAIT = 0.5  # seconds between two looks for a unit that others work on

_cluster_lock = threading.Lock()
_cluster_work: dict[str, Work] = {}


def work_on_units(work: Work, units: WorkUnits, on_unit: Callable[[], object] = lambda: None) -> None:
    """Claim and do units until none is left. A unit that fails is recorded, and the others are done.

    While a unit is packed and written, the network computes the next one, unless a unit is too large for two in memory.

    Args:
        work: What is to be done.
        units: Its units.
        on_unit: Function that is called after each unit.

    Raises:
        UserError: If the output cannot be written, which would go wrong for all units.
    """
    with ThreadPoolExecutor(1, "write") as writer:
        before = writer.submit(lambda: None)
        while True:
            number = units.claim()
            if number is not None:
                writing = writer.submit(_compute(work, units, number))
                before.result()
                before = writing
            if number is None or not work.small_units:
                before.result()
            on_unit()
            if number is None:
                if not units.folder.exists() or not units.left():
                    return
                time.sleep(WAIT)  # the owner of a claim may die


def do_unit(work: Work, units: WorkUnits, number: int) -> None:
    """Do a unit that this process has claimed."""
    _compute(work, units, number)()


def _compute(work: Work, units: WorkUnits, number: int) -> Callable[[], None]:
    """Compute a unit that this process has claimed, and return the function that writes it and ends the claim."""
    with ExitStack() as claim:
        claim.callback(units.release, number)
        claim.enter_context(units.signs_of_life(number))
        try:
            made: Any = work.compute(number, units.plan)
        except Exception as error:
            units.fail(number, str(error) if isinstance(error, UserError) else repr(error))
            return lambda: None
        kept = claim.pop_all()

    def write() -> None:
        with kept:
            work.store(number, made)
            units.complete(number)

    return write


def unit_of_cluster(plain: dict[str, Any], number: int) -> str | None:
    """Do a unit in a worker of a cluster; return the error if the output cannot be written."""
    torch.set_num_threads(max(1, usable_cores() // _threads_of_worker()))
    key = json.dumps(plain, sort_keys=True, default=str)
    with _cluster_lock:
        if key not in _cluster_work:
            _cluster_work.clear()
            _cluster_work[key] = open_settings(plain)
        work = _cluster_work[key]
    units = join_units(work)
    if units is None or not units.claim_number(number):
        return None  # another process has it
    try:
        do_unit(work, units, number)
    except UserError as error:
        return str(error)
    return None


def _threads_of_worker() -> int:
    from distributed import get_worker

    return int(get_worker().state.nthreads)


def open_settings(plain: dict[str, Any]) -> Work:
    """Open the work of settings of upscale.yaml that another process sent, with the packages that it has opened."""
    open_plugins(plain["plugins"])
    return open_work(UpscaleSchema(**plain))


def main(path: Path) -> int:
    """Do units with the settings in a file until none is left, and return the exit status."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stdout)
    try:
        work = open_settings(json.loads(path.read_text(encoding="utf-8")))
        units = join_units(work)
        if units is not None:
            work_on_units(work, units)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
