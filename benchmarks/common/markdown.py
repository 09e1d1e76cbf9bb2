"""How numbers stand in the pages: means with half of their range over seeds, differences with a sign, tables in Markdown."""

from __future__ import annotations

from collections.abc import Sequence


def mean(values: Sequence[float]) -> float:
    """Of one number per seed."""
    return sum(values) / len(values)


def half_range(values: Sequence[float]) -> float:
    """The spread over seeds."""
    return (max(values) - min(values)) / 2


def spread(values: Sequence[float], form: str = ".2f") -> str:
    """Mean and, of several seeds, half of their range; in scientific form both have one exponent."""
    middle, half = mean(values), half_range(values)
    if len(values) < 2:
        return f"{middle:{form}}"
    if form.endswith("e"):
        digits, _, exponent = f"{middle:{form}}".partition("e")
        return f"({digits} ± {half / 10 ** int(exponent):.{form[1:-1]}f})e{exponent}"
    return f"{middle:{form}} ± {half:{form}}"


def gain(values: Sequence[float], over: Sequence[float], form: str = "+.2f") -> str:
    """Mean of the differences, seed by seed; `over` may be the same for all."""
    base = over if len(over) == len(values) else [over[0]] * len(values)
    found = [a - b for a, b in zip(values, base, strict=True)]
    return f"{mean(found):{form}}" + (f" ± {half_range(found):{form.lstrip('+')}}" if len(found) > 1 else "")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """In Markdown, numbers to the right."""
    lines = [list(header), ["---", *(["---:"] * (len(header) - 1))], *(list(row) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
