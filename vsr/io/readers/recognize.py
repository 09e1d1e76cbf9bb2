"""Choice of the reader of an array file by the file's content, and advice for files that no reader recognises."""

from __future__ import annotations

from pathlib import Path

from vsr.errors import UserError
from vsr.io.formats import load_format_readers, readable_suffixes
from vsr.io.readers.base import ArrayReader
from vsr.io.readers.hdf5 import is_hdf5, open_remote_file
from vsr.io.readers.isolated.proxies import IsolatedReader
from vsr.io.readers.printable import printable_name
from vsr.io.readers.video import SUFFIXES as VIDEO_SUFFIXES
from vsr.io.readers.zarr_store import is_zarr_store
from vsr.system.address import Address, path_or_address

HEAD = 2**13  # bytes by which readers recognise a file
# Formats that are not read, by their first bytes: (position, bytes, name, what to do).
FOREIGN_FORMATS = (
    (0, b"SIMPLE  =", "FITS", "astropy.io.fits reads it: numpy.save('movie.npy', data)"),
    (344, b"n+1\0", "NIfTI", "nibabel reads it: numpy.save('movie.npy', image.get_fdata())"),
    (344, b"ni1\0", "NIfTI", "nibabel reads it: numpy.save('movie.npy', image.get_fdata())"),
    (0, b"# vtk DataFile", "VTK", "meshio or pyvista reads it: numpy.save('movie.npy', values)"),
    (0, b"<VTKFile", "VTK", "meshio or pyvista reads it: numpy.save('movie.npy', values)"),
    (0, b'<?xml version="1.0"?>\n<VTKFile', "VTK", "meshio or pyvista reads it: numpy.save('movie.npy', values)"),
    (0, b"\x0e\x03\x13\x01", "HDF4", "convert it: h4toh5 FILE, or gdal_translate -of netCDF"),
    (0, b"\xcd\xf3\x00\x01", "CDF of NASA", "convert it: cdf2nc FILE, or read it with cdflib"),
    (0, b"\x1f\x8b", "compressed by gzip", "type: gunzip FILE"),
    (0, b"BZh", "compressed by bzip2", "type: bunzip2 FILE"),
    (0, b"\xfd7zXZ\0", "compressed by xz", "type: unxz FILE"),
    (0, b"\x28\xb5\x2f\xfd", "compressed by zstd", "type: unzstd FILE"),
    (257, b"ustar", "a tar archive", "unpack it: tar xf FILE"),
    (0, b"PAR1", "Parquet, a table", "save the movie as an array: numpy.save('movie.npy', values)"),
    (0, b"\x80\x04", "a pickle, which could run code", "save the array: numpy.save('movie.npy', values)"),
    (0, b"\x80\x05", "a pickle, which could run code", "save the array: numpy.save('movie.npy', values)"),
    (0, b"%PDF", "PDF", "give the data, not their picture"),
    (0, b"\x89PNG", "a PNG picture", "type data=images, or a folder of pictures as input="),
)


def open_reader(path: Path) -> ArrayReader:
    """Return the reader of a file, chosen by the file's content. An `isolated` reader runs in the child process.

    Raises:
        UserError: If no reader fits, or the file cannot be opened.
    """
    path = path_or_address(path)
    if isinstance(path, Address):
        return _open_address(path)
    if not path.exists():
        raise UserError(f"{path}: no such file; check the name")
    if not path.is_dir() and not path.is_file():
        raise UserError(f"{path}: not a file or folder; type data.path=FILE")
    try:
        head = b"" if path.is_dir() else _head(path)
        for kind in load_format_readers():
            if (reader := kind.recognize(path, head)) is not None:
                return IsolatedReader(reader) if reader.isolated else reader
    except OSError as error:
        raise UserError(f"{path}: cannot be opened ({error.strerror}); check its permissions") from error
    if path.is_dir():
        raise UserError(f"{path}: a folder without Zarr metadata; give a file or a .zarr folder")
    raise UserError(f"{path}: {_unknown(path, head)}")


def _open_address(address: Address) -> ArrayReader:
    """Return the reader of a Zarr store, or of a file of NetCDF-4 or HDF5, at an address. Raises UserError for anything else."""
    kinds = {kind.name: kind for kind in load_format_readers()}
    reader: ArrayReader | None = kinds["zarr"](address) if is_zarr_store(address) else None
    if reader is None:
        head = open_remote_file(address).read(HEAD)
        found = (kinds[name].recognize(address, head) for name in ("netcdf", "hdf5") if is_hdf5(head))
        reader = next((each for each in found if each is not None), None)
    if reader is None:
        raise UserError(f"{address}: neither a Zarr store nor a file of NetCDF-4 or HDF5; download it and give the local file")
    # What lies in the memory of this process is not there in another.
    return IsolatedReader(reader) if reader.isolated and address.scheme != "memory" else reader


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD)


def _unknown(path: Path, head: bytes) -> str:
    """Describe a file that no reader recognises, by its first bytes `head`, and say what to do."""
    promised = f"give a complete file of the kind that its name ({path.suffix or path.name}) promises"
    if not head:
        return f"empty, 0 bytes; {promised}"
    for position, start, name, advice in FOREIGN_FORMATS:
        if head[position : position + len(start)] == start:
            return f"{name}, which is not read; {advice}"
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return "a video, not arrays; type data=movies"
    if all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head[:64]):
        return f"text ({printable_name(head[:20].decode())} ...), not arrays; {promised}"
    known = ", ".join(dict.fromkeys(readable_suffixes()))
    return f"not a format that is read ({known}), or damaged at its beginning; {promised}"
