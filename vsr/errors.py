"""The errors that a user can mend. The scripts print them as one line; everything else is a bug and keeps its traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

LINEAR_GONE = (
    "recipe.residual=linear is gone, as it gained nothing (docs/design/decisions/019); type recipe.residual=bicubic, train anew "
    "what was trained with it"
)


class UserError(Exception):
    """Something that the user gave cannot be used. The message says what, where, and what to type instead.

    It is one line whatever it quotes: line breaks, terminal codes and broken text are shown as escapes.
    """

    def __str__(self) -> str:
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in super().__str__())


class NotWritten(UserError):
    """A file could not be written: the disk is full, or may not be written to.

    Attributes:
        what: which file, and why; the message has an advice besides.
    """

    def __init__(self, what: str, advice: str) -> None:
        super().__init__(f"{what}; {advice}")
        self.what = what


def suggestion(word: str, known: Iterable[str]) -> str:
    """ "; did you mean 'x'?" for the nearest known word, or "; known: a, b" when none is near."""
    known = sorted(known)
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean '{near[0]}'?" if near else f"; known: {', '.join(known)}"
