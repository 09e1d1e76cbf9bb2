"""Reader of GRIB files, editions 1 and 2, through cfgrib and eccodes (extra `grib`)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vsr.errors import UserError
from vsr.io.readers import base
from vsr.io.readers.base import ArrayReader, Metadata
from vsr.io.readers.netcdf import NetCDFReader

MESSAGE, END = b"GRIB", b"7777"
PADDING = b"\0\r\n\x03 "
SEARCHED = 512  # bytes in which the first message begins: a bulletin header may stand before it
# Attributes on the meaning of the field; the other GRIB_ attributes describe the coarse grid and its packing.
KEPT = ("GRIB_shortName", "GRIB_name", "GRIB_paramId", "GRIB_cfName", "GRIB_typeOfLevel", "GRIB_stepType", "GRIB_dataType")


class GribReader(NetCDFReader):
    """Reader of a GRIB file. Messages of one variable and one kind of level form an array.

    A variable is named as by cfgrib ("t2m"). If the file has several kinds of levels or of steps, the kind stands before the
    name: "isobaricInhPa/t". No index file is written beside the file.
    """

    name = "grib"
    suffixes = (".grib", ".grib2", ".grb", ".grb2", ".grib1")

    def __init__(self, path: Path) -> None:
        super().__init__(path, "cfgrib")
        self.format, self.superseded = "GRIB", False

    @classmethod
    def recognize(cls, path: Path, head: bytes) -> ArrayReader | None:
        at = head[:SEARCHED].find(MESSAGE)
        return cls(path) if at >= 0 and head[at + 7 : at + 8] in (b"\x01", b"\x02") else None

    def _open(self) -> dict[str, Any]:
        for module in ("xarray", "cfgrib"):
            base.import_reader_library(module, "reading GRIB", "grib")
        import cfgrib

        self._check_messages()
        options = {"indexpath": "", "errors": "raise"}  # by default cfgrib leaves out damaged messages
        with self._errors(), warnings.catch_warnings(action="ignore"):
            found = cfgrib.open_datasets(str(self.path), backend_kwargs=options, decode_times=False)
        if len(found) == 1:
            return {"": found[0]}
        groups: dict[str, Any] = {}
        for dataset in found:
            kinds = {str(array.attrs.get("GRIB_typeOfLevel", "level")) for array in dataset.data_vars.values()}
            kind = "_".join(sorted(kinds))
            number = sum(name.partition(":")[0] == kind for name in groups)
            groups[f"{kind}:{number + 1}" if number else kind] = dataset
        return groups

    def _check_messages(self) -> None:
        """Raise UserError unless whole messages follow each other: cfgrib would leave out damaged ones without a word."""
        size, at = self.path.stat().st_size, 0
        with self.path.open("rb") as file:
            while at < size:
                file.seek(at)
                head = file.read(SEARCHED + 16)
                if padding := len(head) - len(head.lstrip(PADDING)):
                    at += padding
                    continue
                start = head.find(MESSAGE)
                second = head[start + 7 : start + 8] == b"\x02"
                length = int.from_bytes(head[start + 8 : start + 16] if second else head[start + 4 : start + 7], "big")
                if not second and length >= 1 << 23:  # a message of GRIB 1 too large for its header, which only eccodes measures
                    return
                file.seek(min(max(at, at + start + length - len(END)), size))
                if start < 0 or END in head[:start] or file.read(len(END)) != END:
                    what = "cut short" if start >= 0 and at + start + max(length, 16) > size else "damaged"
                    raise UserError(f"{self.path}: {what} after byte {at}; fetch the file again")
                at += start + length

    def _open_group(self, group: str) -> Any:
        return self.handle[group].copy()  # closing a copy leaves the file open

    def metadata(self, names: Sequence[str], axes: Sequence[str]) -> Metadata:
        """Read attributes and coordinates of the movie's group, without those that describe the coarse grid and its packing."""
        group = names[0].rpartition("/")[0]
        plain = super().metadata(names, axes) if not group else self._of_group(names, axes, group)
        attrs = tuple({k: v for k, v in found.items() if not k.startswith("GRIB_") or k in KEPT} for found in plain.attrs)
        return replace(plain, attrs=attrs)

    def _of_group(self, names: Sequence[str], axes: Sequence[str], group: str) -> Metadata:
        """Read the metadata of a kind of level as if it were the only one in the file."""
        alone = GribReader(self.path)
        alone.__dict__["_handle"], alone.__dict__["_process"] = {"": self.handle[group]}, self._process
        found = alone.metadata([name.rpartition("/")[2] for name in names], axes)
        neighbours = [replace(entry, name=f"{group}/{entry.name}") for entry in found.neighbours]
        return replace(found, groups={"": found.groups.get("", {})}, neighbours=neighbours)
