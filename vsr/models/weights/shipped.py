"""Index of the weight files in the package, read from their headers without torch."""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vsr.errors import UserError, error_suggestion

FOLDER = Path(__file__).with_name("pretrained_files")
WORD = "pretrained"  # checkpoint=pretrained, checkpoint=pretrained:NAME
TRAINED = "trained"  # key of the header of a file that is a whole checkpoint: its description, as JSON
SHA256 = "tensors_sha256"  # key of the header for the checksum of the tensors
BESIDE = ("normalizer.", "reference.")  # names in such a file begin so for tensors that are not those of the network
LONGEST_HEADER = 1 << 24  # bytes


@dataclass(frozen=True)
class ShippedFile:
    """Weight file of the package.

    Attributes:
        path: Path of the file.
        network: Name of the network's config.
        scale: HR pixels per LR pixel along each axis.
        header: Further facts about the file, as text.
    """

    path: Path
    network: str
    scale: int
    header: Mapping[str, str]

    @property
    def name(self) -> str:
        """Name of the file without its ending, such as "field_x2"."""
        return self.path.stem

    @property
    def complete(self) -> bool:
        """True for a whole checkpoint that can upscale; False for weights that only start a training."""
        return TRAINED in self.header


def list_shipped(folder: Path = FOLDER) -> list[ShippedFile]:
    """Return the weight files of the package, sorted by network and scale. Raises UserError for a damaged file."""
    return sorted(map(_read, folder.glob("*.safetensors")), key=lambda found: (found.network, found.scale))


def _read(path: Path) -> ShippedFile:
    try:
        header = read_safetensors_header(path)
        return ShippedFile(path, header["name"], int(header["scale"]), header)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: not one of the weight files of vsr, or damaged ({error}); install vsr again") from error


def read_safetensors_header(path: Path) -> dict[str, str]:
    """Return the free text in the header of a safetensors file, {} if there is none.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If the file is no safetensors file.
    """
    with path.open("rb") as stream:
        start = stream.read(8)
        size = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= size <= LONGEST_HEADER:
            raise ValueError("no header")
        header: Any = json.loads(stream.read(size))
    said = header.get("__metadata__", {}) if isinstance(header, dict) else None
    if not isinstance(said, dict) or not all(isinstance(text, str) for text in said.values()):
        raise ValueError("no header")
    return said


def tensors_sha256(content: bytes) -> str:
    """Return the SHA-256 checksum of the tensors in the content of a safetensors file, in hexadecimal."""
    return hashlib.sha256(content[8 + struct.unpack("<Q", content[:8])[0] :]).hexdigest()


def is_shipped_name(text: str) -> bool:
    """Return True for "pretrained" and "pretrained:NAME"."""
    return text == WORD or text.startswith(f"{WORD}:")


def find_shipped(text: str, folder: Path = FOLDER) -> Path:
    """Return the path of the checkpoint that "pretrained:NAME" means.

    Raises:
        UserError: If there is no such file, or if it holds weights that only start a training.
    """
    files = {found.name: found for found in list_shipped(folder)}
    usable = [name for name, found in files.items() if found.complete]
    name = text.removeprefix(WORD).removeprefix(":")
    if name in usable:
        return files[name].path
    if name in files:
        raise UserError(
            f"{text}: holds weights that start a training (init=pretrained), and no whole network; there are {_listed(usable)}"
        )
    if not name:
        raise UserError(f"{text}: which one? type {WORD}:NAME of {_listed(usable)}")
    raise UserError(f"{text}: there is no such network{error_suggestion(name, usable)}; there are {_listed(usable)}")


def shipped_for(kind: str, scale: int, folder: Path = FOLDER) -> Path:
    """Return the path of the network of the package for a kind of data.

    Args:
        kind: "field" for arrays of numbers, "film" for videos and pictures.
        scale: HR pixels per LR pixel along each axis.
        folder: Folder of the files.

    Raises:
        UserError: If there is none for this scale.
    """
    fitting = [found for found in list_shipped(folder) if found.complete and found.header.get("suits") == kind]
    for found in fitting:
        if found.scale == scale:
            return found.path
    have = ", ".join(f"x{found.scale}" for found in fitting) or "none"
    raise UserError(f"no network of the package for {kind}s at x{scale} (there is {have}); type checkpoint=FILE")


def kind_of_field(attrs: Mapping[str, Any]) -> str:
    """Return the kind of data that an array is, as `shipped_for` takes it, from its attributes.

    Args:
        attrs: Attributes of the array. `cell_methods` of the CF conventions says how a value stands for its cell.

    Returns:
        "area" for means over grid cells, such as `cell_methods` of "area: time: mean"; "field" for anything else.
    """
    means = re.search(r"\barea\s*:\s*(?:\w+\s*:\s*)*mean\b", str(attrs.get("cell_methods", "")))
    return "area" if means else "field"


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "none in this installation"
