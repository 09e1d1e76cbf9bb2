"""Names of outputs: the default beside the input, and one that no file has yet."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from vsr.errors import UserError
from vsr.io.formats import format_of_output, readable_suffixes
from vsr.io.readers.pictures import SUFFIXES as PICTURES
from vsr.io.readers.recognize import open_reader
from vsr.io.readers.video import SUFFIXES as VIDEOS
from vsr.system.address import Address


def default_output(given: Path, scale: int) -> Path:
    """Return the default path of the output: beside the input, or here for one at an address, with the scale in its name."""
    if isinstance(given, Address):
        suffix = given.suffix.lower()
        return Path(f"{given.stem}_x{scale}{suffix if suffix in readable_suffixes() else '.zarr'}")
    if given.is_dir() and given.suffix != ".zarr":
        return given.with_name(f"{given.name}_x{scale}")
    suffix = given.suffix
    if suffix.lower() in VIDEOS:
        suffix = ".mkv"
    elif suffix.lower() in (".jpg", ".jpeg", ".bmp", ".webp"):
        suffix = ".png"
    elif suffix.lower() not in (*PICTURES, *readable_suffixes()):  # content decided what it is, as of wrfout_d01_2020-01-01
        with suppress(UserError):
            suffix = open_reader(given).suffixes[0]
            return given.with_name(f"{given.name}_x{scale}{suffix if _is_written(suffix) else '.nc'}")
    elif suffix.lower() not in PICTURES and not _is_written(suffix):
        suffix = ".nc"  # GRIB is only read
    return given.with_name(f"{given.stem}_x{scale}{suffix}")


def _is_written(suffix: str) -> bool:
    """Return True if arrays are written to files with this ending."""
    with suppress(UserError):
        return bool(format_of_output(Path(f"output{suffix}")))
    return False


def free_output(given: Path, scale: int, network: str) -> Path | None:
    """Return a path that does not exist beside the default output of an input; None if the default is free.

    Args:
        given: The input.
        scale: SR pixels per pixel of the input and axis.
        network: Name of the network, which the new name has.
    """
    usual = default_output(given, scale)
    if not usual.exists():
        return None
    word, number = re.sub(r"[^\w.-]+", "_", network), 1
    while (path := usual.with_name(f"{usual.stem}_{word}{f'_{number}' if number > 1 else ''}{usual.suffix}")).exists():
        number += 1
    return path
