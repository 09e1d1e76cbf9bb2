"""Registry of the array file formats, one line per format. docs/guides/adding-a-format.md shows how to add a format."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from vsr.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    from vsr.io.readers.base import ArrayReader
    from vsr.io.writers.base import ArrayWriter


class Format(NamedTuple):
    """Reader and writer class of one file format, each given as "module:Class" and imported when it is first used."""

    reader: str
    writer: str | None = None  # None for a format that is only read

    def load_reader(self) -> type[ArrayReader]:
        """Import and return the class that recognises and reads files of the format."""
        module, _, name = self.reader.partition(":")
        return getattr(import_module(module), name)

    def load_writer(self) -> ArrayWriter | None:
        """Import the writer class of the format and return an instance, or None if the format is only read."""
        if self.writer is None:
            return None
        module, _, name = self.writer.partition(":")
        return getattr(import_module(module), name)()


# The first reader that recognises a file reads it: Zarr stands before .npz, since both can be a zip, and HDF5 stands last, since
# files of MATLAB 7.3 and NetCDF-4 are HDF5 too.
FORMATS: dict[str, Format] = {
    "npy": Format("vsr.io.readers.numpy_files:NpyReader", "vsr.io.writers.numpy_files:NpyWriter"),
    "zarr": Format("vsr.io.readers.zarr_store:ZarrReader", "vsr.io.writers.zarr_store:ZarrWriter"),
    "npz": Format("vsr.io.readers.numpy_files:NpzReader", "vsr.io.writers.numpy_files:NpzWriter"),
    "matlab": Format("vsr.io.readers.matlab:MatlabReader", "vsr.io.writers.matlab:MatlabWriter"),
    "tiff": Format("vsr.io.readers.tiff:TiffReader", "vsr.io.writers.tiff:TiffWriter"),
    "grib": Format("vsr.io.readers.grib:GribReader"),
    "netcdf": Format("vsr.io.readers.netcdf:NetCDFReader", "vsr.io.writers.netcdf:NetCDFWriter"),
    "hdf5": Format("vsr.io.readers.hdf5:HDF5Reader", "vsr.io.writers.hdf5:HDF5Writer"),
}


def load_format_readers() -> list[type[ArrayReader]]:
    """Import and return the reader classes of all formats, in the order in which they try to recognise a file."""
    return [entry.load_reader() for entry in FORMATS.values()]


def readable_suffixes() -> list[str]:
    """Return the file-name endings of all formats that can be read, such as ".npy"."""
    return [suffix for reader in load_format_readers() for suffix in reader.suffixes]


def load_format_writer(name: str) -> ArrayWriter:
    """Return a writer of the format `name`, a key of FORMATS; raise ValueError if vsr does not write the format."""
    writer = FORMATS[name].load_writer() if name in FORMATS else None
    if writer is None:
        raise ValueError(f"{name} is not a format that is written")
    return writer


def format_of_output(path: Path) -> str:
    """Return the format (a key of FORMATS) of an output by its file ending; raise UserError if no writer has that ending."""
    known: dict[str, str] = {}
    for name, entry in FORMATS.items():
        writer = entry.load_writer()
        known |= dict.fromkeys(writer.suffixes if writer is not None else (), name)
    if (found := known.get(path.suffix.lower())) is None:
        raise UserError(f"{path}: its ending names no format that is written; type output=NAME with one of {', '.join(known)}")
    return found
