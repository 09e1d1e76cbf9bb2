"""Parts of a text that are written by a command, between two marks."""

from __future__ import annotations

from pathlib import Path

from vsr.errors import UserError
from vsr.system.files import replacing

END = "<!-- end -->"


def replaced(name: str, text: str, begin: str, content: str) -> str:
    """The text of the file `name` with `content` between the marks. Raises UserError where they are not there."""
    before, first, rest = text.partition(begin)
    _, last, after = rest.partition(END)
    if not first or not last:
        raise UserError(f"{name}: lacks the lines '{begin}' and '{END}' around what is written there")
    return f"{before}{begin}\n{content}\n{END}{after}"


def write(path: Path, text: str) -> None:
    """Write a page whole or not at all. Raises UserError naming it where it cannot be written."""
    try:
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); type page=FILE to write elsewhere") from error
