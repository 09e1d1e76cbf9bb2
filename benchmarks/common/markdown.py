"""Markdown for the result pages: numbers with their spread, tables, and blocks that a command writes between two marks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vsr.errors import UserError
from vsr.system.files import replacing_file

END = "<!-- end -->"


def mean(values: Sequence[float]) -> float:
    """Mean of one number per seed."""
    return sum(values) / len(values)


def half_range(values: Sequence[float]) -> float:
    """Half of the range over seeds: the spread that the pages show behind ±."""
    return (max(values) - min(values)) / 2


def spread(values: Sequence[float], form: str = ".2f") -> str:
    """Format a mean with half of the range over seeds, if there are several; in scientific form both share one exponent."""
    middle, half = mean(values), half_range(values)
    if len(values) < 2:
        return f"{middle:{form}}"
    if form.endswith("e"):
        digits, _, exponent = f"{middle:{form}}".partition("e")
        return f"({digits} ± {half / 10 ** int(exponent):.{form[1:-1]}f})e{exponent}"
    return f"{middle:{form}} ± {half:{form}}"


def gain(values: Sequence[float], over: Sequence[float], form: str = "+.2f") -> str:
    """Format the mean difference to a reference, seed by seed; a reference with one value serves all seeds."""
    base = over if len(over) == len(values) else [over[0]] * len(values)
    found = [a - b for a, b in zip(values, base, strict=True)]
    return f"{mean(found):{form}}" + (f" ± {half_range(found):{form.lstrip('+')}}" if len(found) > 1 else "")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a Markdown table: the first column left-aligned, the others right-aligned."""
    lines = [list(header), ["---", *(["---:"] * (len(header) - 1))], *(list(row) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def replace_block(name: str, text: str, begin: str, content: str) -> str:
    """Replace the text between `begin` and END in the file `name`. Raises UserError where these marks are missing."""
    before, first, rest = text.partition(begin)
    _, last, after = rest.partition(END)
    if not first or not last:
        raise UserError(f"{name}: lacks the lines '{begin}' and '{END}' around what is written there")
    return f"{before}{begin}\n{content}\n{END}{after}"


def write_page_file(path: Path, text: str) -> None:
    """Write a page atomically. Raises UserError with its path where it cannot be written."""
    try:
        with replacing_file(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); type page=FILE to write elsewhere") from error
