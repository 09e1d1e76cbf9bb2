"""Open the documentation in a browser: `vsr docs`."""

from __future__ import annotations

import webbrowser
from collections.abc import Sequence

from vsr.config import PACKAGE
from vsr.errors import UserError

SITE = PACKAGE.parent / "build" / "site" / "index.html"


def docs_command(arguments: Sequence[str]) -> None:
    """Run `vsr docs`: open the site that `make docs` built, and print its address.

    Args:
        arguments: The command line after "docs"; nothing but --help.

    Raises:
        UserError: There is no site here, or an argument is given.
    """
    if {"--help", "-h"} & set(arguments):
        print("usage: vsr docs: open the site that make docs has built in the checkout")
        return
    if arguments:
        raise UserError(f"docs {' '.join(arguments)}: takes no argument; type vsr docs")
    if not SITE.is_file():
        raise UserError(f"{SITE}: no such file; type make docs in a checkout of vsr, which builds it")
    print(SITE.as_uri())
    webbrowser.open(SITE.as_uri())
