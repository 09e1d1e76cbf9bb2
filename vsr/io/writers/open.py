"""Array movie files as outputs: what a finer version of a file is to hold (`template_of`), and where it goes (`array_sink`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vsr.errors import UserError
from vsr.io.writers.base import Journal, Sink
from vsr.io.writers.template import FORMATS, Field, Template, format_of
from vsr.io.writers.template_from_file import template_of

__all__ = ["FORMATS", "Field", "Template", "array_sink", "template_of"]


def array_sink(path: Path, template: Template, *, identity: Mapping[str, Any], overwrite: bool = False) -> Sink:
    """Open an output file for writing, or continue one that an interrupted run with the same identity and template left.

    Args:
        path: the target; its ending must be one of the template's format.
        template: what the file holds.
        identity: what the frames depend on, plain values: checkpoint, input, options.
        overwrite: see `Journal`.

    Raises UserError when the path cannot be written (exists, no room, no permission, another writer, another identity).
    """
    path = Path(path)
    template.check()
    if format_of(path) != template.format:
        raise ValueError(f"{path} for a template of {template.format}")
    if template.format == "zarr":
        from vsr.io.readers.zarr_store import is_store

        if path.is_dir() and not is_store(path):
            raise UserError(f"{path}: a folder that is no Zarr store is not replaced; type another output=NAME.zarr")
    whole = {**identity, "layout of the file": template.digest()}
    journal = Journal(path, whole, overwrite=overwrite, folder=template.format == "zarr")
    if template.format == "zarr":
        from vsr.io.writers.zarr_store import ZarrSink

        return ZarrSink(journal, template)
    from vsr.io.writers.contiguous import ContiguousSink

    if template.format in ("npy", "npz"):
        from vsr.io.writers import numpy_files

        pack = numpy_files.pack_npz if template.format == "npz" else None
        return ContiguousSink(journal, template, numpy_files.storage_order(template), numpy_files.create_npy, pack)
    if template.format == "matlab":
        from vsr.io.writers import matlab

        return ContiguousSink(journal, template, template.axes[::-1], matlab.create)
    if template.format == "netcdf":
        from vsr.io.writers import netcdf

        return ContiguousSink(journal, template, template.axes, netcdf.create)
    from vsr.io.writers import hdf5

    return ContiguousSink(journal, template, template.axes, hdf5.create)
