"""Say how far an upscaling by several processes is: `vsr upscale status output=PATH`."""

from __future__ import annotations

from collections.abc import Sequence

from vsr.errors import UserError
from vsr.system.address import path_or_address
from vsr.system.progress import duration_text
from vsr.system.work_units import WorkUnits, units_folder

USAGE = "usage: vsr upscale status output=PATH, the output of vsr upscale with workers"


def status_command(arguments: Sequence[str]) -> None:
    """Run `vsr upscale status`: print how many units are done, running, failed and left, and when the rest will be done.

    Args:
        arguments: The command line after "status".

    Raises:
        UserError: No output is named, or nothing works on it.
    """
    if {"--help", "-h"} & set(arguments):
        print(USAGE)
        return
    if len(arguments) != 1 or not arguments[0].startswith("output="):
        raise UserError(f"upscale status: {' '.join(arguments) or 'names no output'}; type vsr upscale status output=PATH")
    target = path_or_address(arguments[0].removeprefix("output="))
    folder = units_folder(target)
    if not folder.exists():
        if target.exists():
            print(f"{target}: is there, and no unit is left to do")
            return
        raise UserError(
            f"{target}: is not there, and no unit has been begun (a command needs ten seconds to begin); type the output of vsr "
            f"upscale workers=N"
        )
    units = WorkUnits(folder)
    progress = units.progress()
    left = units.count - progress.done - progress.running - len(progress.failed)
    frames = units.plan.get("frames")
    what = f"{units.count} files" if frames is None else f"{frames} frames in {units.count} units"
    print(f"{target}: {what}, {progress.done} done, {progress.running} running, {len(progress.failed)} failed, {left} waiting")
    for number, error in list(progress.failed.items())[:10]:
        print(f"  unit {number} failed: {error}")
    left += progress.running
    if progress.rate and left:
        per_unit = "" if frames is None else f", {progress.rate * units.plan['frames_of_unit']:.3g} frames/s"
        print(f"  {progress.rate * 60:.3g} units/min{per_unit}; done in about {duration_text(left / progress.rate)}")
    elif progress.done == units.count:
        print("  it is being completed")
    elif not progress.running:
        print("  no process has a unit now: workers are starting, or nobody works on it; the command that began it continues it")
