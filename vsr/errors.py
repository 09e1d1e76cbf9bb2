"""Errors that a user can correct. Commands print them as one line; all other errors keep their traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

LINEAR_FILTER_REMOVED = (
    "recipe.residual=linear is gone, as it gained nothing (docs/design/decisions/019); "
    "type recipe.residual=bicubic, and train anew what was trained with it"
)


class UserError(Exception):
    """Error in an input of the user. The message says what is wrong, where, and what to type instead.

    The message is one line: line breaks, terminal codes and broken text in it are shown as escapes.
    """

    def __str__(self) -> str:
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in super().__str__())


class WriteError(UserError):
    """Error for a file that cannot be written, because the disk is full or writing is not permitted.

    Attributes:
        what: The file and the reason, without the advice that ends the message.
    """

    def __init__(self, what: str, advice: str) -> None:
        super().__init__(f"{what}; {advice}")
        self.what = what


def error_suggestion(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the known word nearest to `word`, or "; known: a, b" if no known word is near."""
    known = sorted(known)
    lower = {each.lower(): each for each in known}
    near = difflib.get_close_matches(word.lower(), lower, n=1)
    return f"; did you mean '{lower[near[0]]}'?" if near else f"; known: {', '.join(known)}"
