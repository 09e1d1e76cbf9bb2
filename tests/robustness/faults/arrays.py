"""Files of arrays that are damaged, hostile or something else: items 1 to 7."""

from __future__ import annotations

import pickle
import shutil
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
from scipy.io import savemat
from scipy.sparse import csc_array

from tests.data.datamodules.test_climate_files import flow
from tests.io.readers.test_open import write_matlab73
from tests.processes import run_process
from tests.robustness.faults.bench import Bench, cut, fault, field, flip, hdf5, mat, npy, upscale, write
from tests.training.resume.test_checkpoints import Mark

fault("01-truncated-hdf5", "a.h5: cut short", "fetch or write the file again")(lambda bench: field(cut(hdf5(bench))))
fault("01-truncated-hdf5-evaluated", "a.h5: cut short")(
    lambda bench: ["evaluate", f"checkpoint={bench.checkpoint()}", *field(cut(hdf5(bench)))[1:4], "strategy=cpu"]
)
fault("01-truncated-hdf5-upscaled", "a.h5: cut short")(lambda bench: upscale(bench, cut(hdf5(bench)), "axes=tyx"))
fault("01-header-alone", "a.h5", "write or fetch it again")(lambda bench: field(write(bench, "a.h5", b"\x89HDF\r\n\x1a\n")))
fault("02-flip-under-a-checksum", "a.h5", "h: cannot be read", "write or fetch it again")(
    lambda bench: field(flip(hdf5(bench, fletcher32=True, chunks=(12, 24, 32)), flow().tobytes()[5000:5040]))
)
fault("02-flip-without-one-is-another-value", "fsrcnn", status=0)(
    lambda bench: field(flip(hdf5(bench), flow().tobytes()[5000:5040]))
)


@fault("02-flip-in-compressed-values", "a.h5", "h: cannot be read")
def _(bench: Bench) -> list[str]:
    path = hdf5(bench, compression="gzip", chunks=(12, 24, 32))
    with h5py.File(path) as file:
        place = file["h"].id.get_chunk_info(0)
    raw = bytearray(path.read_bytes())
    raw[place.byte_offset + place.size // 2] ^= 255
    path.write_bytes(raw)
    return field(path)


@fault("03-left-open-by-a-kill", "a.h5", "its writer was killed")
def _(bench: Bench) -> list[str]:
    code = "import h5py, numpy, os, signal; f = h5py.File('a.h5', 'w'); f['h'] = numpy.zeros((9, 24, 24)); "
    code += "os.kill(os.getpid(), signal.SIGKILL)"
    done = run_process([sys.executable, "-c", code], cwd=bench.path)
    assert done.returncode == -9
    return field(bench.path / "a.h5")


@fault("03-killed-writer-that-had-flushed", "a.h5", "close that program, or type: h5clear")
def _(bench: Bench) -> list[str]:
    code = "import h5py, numpy, os, signal; f = h5py.File('a.h5', 'w', libver='latest'); f['h'] = numpy.zeros((9, 24, 24)); "
    code += "f.flush(); os.kill(os.getpid(), signal.SIGKILL)"
    run_process([sys.executable, "-c", code], cwd=bench.path)
    return field(bench.path / "a.h5")


fault("04-empty-mat", "a.mat: empty, 0 bytes")(lambda bench: field(write(bench, "a.mat", b"")))
fault("04-text-mat", "a.mat: text (", "give a complete file of the kind that its name (.mat) promises")(
    lambda bench: field(write(bench, "a.mat", "not a mat file\n" * 40))
)
fault("04-truncated-mat", "a.mat: ", "cut short")(lambda bench: field(cut(mat(bench, H=flow().transpose(1, 2, 0))), axes="yxt"))
fault("04-truncated-compressed-mat", "a.mat: ", "cut short")(
    lambda bench: field(cut(mat(bench, compressed=True, H=flow().transpose(1, 2, 0))), axes="yxt")
)


@fault("04-flip-in-a-compressed-mat", "a.mat", "fetch or write it again")
def _(bench: Bench) -> list[str]:
    path = mat(bench, compressed=True, H=flow().transpose(1, 2, 0))
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 255
    path.write_bytes(raw)
    return field(path, axes="yxt")


@fault("04-mat-of-version-4-cut-short", "a.mat")
def _(bench: Bench) -> list[str]:
    savemat(bench.path / "a.mat", {"H": flow()[0]}, format="4")
    return field(cut(bench.path / "a.mat"))


@fault("04-mat-of-version-4-that-declares-a-tebibyte", "H is cut short: 262144x524288 values")
def _(bench: Bench) -> list[str]:
    header = struct.pack("<5i", 0, 2**18, 2**19, 0, 2)  # doubles, rows, columns, no imaginary part, length of the name
    (bench.path / "a.mat").write_bytes(header + b"H\0" + bytes(1000))
    return field(bench.path / "a.mat", "data.variable=H")


@fault("04-mat-whose-shape-does-not-fit-its-values", "a.mat", "is damaged")
def _(bench: Bench) -> list[str]:
    path = mat(bench, H=flow().transpose(1, 2, 0))
    shape = struct.pack("<3i", 24, 32, 12)
    path.write_bytes(path.read_bytes().replace(shape, struct.pack("<3i", 24, 32, 2**20), 1))
    return field(path, axes="yxt")


fault("05-version-7.3-under-any-name", "fsrcnn", status=0)(
    lambda bench: field(write_matlab73(bench.path / "v5.mat", "H", flow().transpose(1, 2, 0)), axes="yxt")
)
fault("05-version-5-under-another-name", "fsrcnn", status=0)(
    lambda bench: field(Path(shutil.move(mat(bench, H=flow().transpose(1, 2, 0)), bench.path / "a.h5")), axes="yxt")
)


@fault("05-version-7.3-cut-to-its-header", "a.mat", "a MATLAB 7.3 header without the HDF5 file behind it")
def _(bench: Bench) -> list[str]:
    path = write_matlab73(bench.path / "a.mat", "H", flow().transpose(1, 2, 0))
    path.write_bytes(path.read_bytes()[:512])
    return field(path, axes="yxt")


fault("06-cell-array", "a.mat: no numeric array of 3 or more dimensions (H is a cell array")(
    lambda bench: field(mat(bench, H=np.array([[flow(), 1]], dtype=object)))
)
fault("06-struct", "H holds arrays and is none itself; type data.variable=H.a")(
    lambda bench: field(mat(bench, H={"a": flow()}), "data.variable=H")
)
fault("06-array-of-structs", "H is a struct without fields or an array of structs; store a field of one element")(
    lambda bench: field(mat(bench, H=np.array([(flow(),), (1,)], [("a", object)])), "data.variable=H")
)
fault("06-sparse", "H is a sparse matrix; store it with full()")(
    lambda bench: field(mat(bench, H=csc_array(np.eye(30))), "data.variable=H")
)
fault("06-complex-mat", "H is complex, not real numbers")(
    lambda bench: field(mat(bench, H=flow().astype(complex)), "data.variable=H")
)
fault("06-complex-npy", "a.npy: is complex, not real numbers")(lambda bench: npy(bench, flow().astype(complex)))


@fault("06-strings-hdf5", "h is object, not real numbers")
def _(bench: Bench) -> list[str]:
    with h5py.File(bench.path / "a.h5", "w") as file:
        file["h"] = np.array([[["a", "b"]]], dtype=h5py.string_dtype())
    return field(bench.path / "a.h5", "data.variable=h")


fault("06-pickled-objects-npy", "a.npy: is object, not real numbers")(
    lambda bench: npy(bench, np.array([Mark(bench.mark)] * 2, dtype=object))
)


@fault("06-pickled-objects-npz", "h is object, not real numbers")
def _(bench: Bench) -> list[str]:
    np.savez(bench.path / "a.npz", h=np.array([Mark(bench.mark)] * 2, dtype=object))
    return field(bench.path / "a.npz", "data.variable=h")


fault("06-pickle-under-an-array-name", "a.npy: a pickle, which could run code, which is not read")(
    lambda bench: field(write(bench, "a.npy", pickle.dumps(Mark(bench.mark))))
)


@fault("06-pickle-in-an-npz-member", "a.npz", "h")
def _(bench: Bench) -> list[str]:
    with zipfile.ZipFile(bench.path / "a.npz", "w") as archive:
        archive.writestr("h.npy", pickle.dumps(Mark(bench.mark)))
    return field(bench.path / "a.npz")


def matlab_5(kind: int, body: bytes = b"") -> bytes:
    """A version 5 file with one matrix H of a class that SciPy does not write: functions (16), objects (3, 17)."""
    name = struct.pack("<2I", 1, 1) + b"H".ljust(8, b"\0")
    content = struct.pack("<4I", 6, 8, kind, 0) + struct.pack("<2I2i", 5, 8, 1, 1) + name + body
    return b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + struct.pack("<2I", 14, len(content)) + content


fault("06-function-handle", "H is of MATLAB's type function, not real numbers")(
    lambda bench: field(write(bench, "a.mat", matlab_5(16)), "data.variable=H")
)
fault("06-object-of-a-class", "H is of MATLAB's type object, not real numbers")(
    lambda bench: field(write(bench, "a.mat", matlab_5(3, struct.pack("<2I", 1, 8) + b"evilclas")), "data.variable=H")
)


def linked(bench: Bench, link: Callable[[h5py.File], None]) -> list[str]:
    """An HDF5 file beside another one with a movie in it."""
    with h5py.File(bench.path / "other.h5", "w") as other:
        other["h"] = flow()
    with h5py.File(bench.path / "a.h5", "w") as file:
        link(file)
    return field(bench.path / "a.h5", "data.variable=h")


@fault("07-external-storage", "h has its values in another file", "secret", "which is not followed")
def _(bench: Bench) -> list[str]:
    (bench.path / "secret").write_bytes(flow().tobytes())
    outside = [(str(bench.path / "secret"), 0, h5py.h5f.UNLIMITED)]
    return linked(bench, lambda file: file.create_dataset("h", (12, 24, 32), "f4", external=outside) and None)


fault("07-external-link", "h is a link into another file", "other.h5", "which is not followed")(
    lambda bench: linked(bench, lambda file: file.__setitem__("h", h5py.ExternalLink(str(bench.path / "other.h5"), "/h")))
)


@fault("07-external-link-to-a-group", "a.h5: data.variable=g/h: there is no such array")
def _(bench: Bench) -> list[str]:
    command = linked(bench, lambda file: file.__setitem__("g", h5py.ExternalLink("../other.h5", "/")))
    return [argument.replace("data.variable=h", "data.variable=g/h") for argument in command]


@fault("07-soft-link-loop", "h is a link to /g, which is not followed")
def _(bench: Bench) -> list[str]:
    def loop(file: h5py.File) -> None:
        file["h"], file["g"] = h5py.SoftLink("/g"), h5py.SoftLink("/h")

    return linked(bench, loop)


@fault("07-groups-in-a-circle", "a.h5: data.variable=h: there is no such array")
def _(bench: Bench) -> list[str]:
    def circle(file: h5py.File) -> None:
        file.create_group("a/b")
        file["a/b/c"] = file["a"]

    return linked(bench, circle)


@fault("07-virtual-dataset", "h is a virtual dataset, made of other files")
def _(bench: Bench) -> list[str]:
    layout = h5py.VirtualLayout((12, 24, 32), "f4")
    layout[:] = h5py.VirtualSource(str(bench.path / "other.h5"), "h", (12, 24, 32))
    return linked(bench, lambda file: file.create_virtual_dataset("h", layout) and None)


@fault("07-external-link-in-netcdf", "a.nc", "h is a link into another file")
def _(bench: Bench) -> list[str]:
    command = linked(bench, lambda file: file.__setitem__("h", h5py.ExternalLink(str(bench.path / "other.h5"), "/h")))
    (bench.path / "a.h5").rename(bench.path / "a.nc")
    return [argument.replace("a.h5", "a.nc") for argument in command]


@fault("07-external-link-in-matlab-7.3", "h is a link into another file")
def _(bench: Bench) -> list[str]:
    with h5py.File(bench.path / "other.h5", "w") as other:
        other["h"] = flow()
    path = write_matlab73(bench.path / "a.mat", "g", flow().transpose(1, 2, 0))
    with h5py.File(path, "r+") as file:
        file["h"] = h5py.ExternalLink("other.h5", "/h")
    return field(path, "data.variable=h")


@fault("07-external-storage-upscaled", "h has its values in another file", "which is not followed")
def _(bench: Bench) -> list[str]:
    (bench.path / "secret").write_bytes(flow().tobytes())
    outside = [("secret", 0, h5py.h5f.UNLIMITED)]
    linked(bench, lambda file: file.create_dataset("h", (12, 24, 32), "f4", external=outside) and None)
    return upscale(bench, bench.path / "a.h5", "variable=h", "axes=tyx")
