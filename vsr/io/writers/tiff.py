"""Writer of TIFF files with a page of floats per frame."""

from __future__ import annotations

from pathlib import Path

from vsr.io.readers.tiff import SUFFIXES, _library
from vsr.io.writers.contiguous import ContiguousWriter
from vsr.io.writers.template import OutputTemplate

CLASSIC_BYTES = 2**32 - 2**25  # of pixels: larger files are BigTIFF
NAMES = {"n": "R", "c": "C", "t": "T", "y": "Y", "x": "X"}  # the axes of tifffile


class TiffWriter(ContiguousWriter):
    """Writer of uncompressed TIFF files, which every reader of scientific TIFF understands; larger ones are BigTIFF."""

    name = "tiff"
    suffixes = SUFFIXES
    title = "TIFF"
    has_attributes = False
    field_kinds = ""
    single_array = True

    def storage_order(self, template: OutputTemplate) -> str:
        """Return the order in which each page is a frame, or one channel of it."""
        return "".join(letter for letter in "ntcyx" if letter in template.axes)

    def create(self, path: Path, template: OutputTemplate) -> list[int]:
        order = self.storage_order(template)
        shape = tuple(template.sizes[letter] for letter in order)
        axes = "".join(NAMES[letter] for letter in order)
        large = template.data_bytes > CLASSIC_BYTES
        with _library().TiffWriter(str(path), bigtiff=large, byteorder="<") as file:
            options = {"photometric": "minisblack", "metadata": {"axes": axes}, "returnoffset": True, "contiguous": True}
            offset, _ = file.write(shape=shape, dtype=template.dtype, **options)
        return [int(offset)]
