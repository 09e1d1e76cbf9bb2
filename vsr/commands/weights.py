"""Show what a weight file holds: `python -m vsr weights FILE`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from vsr.errors import UserError
from vsr.models.weights.files import describe


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table of the file. Exits with status 1 and one line when it cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m vsr weights", description="Show what a weight file holds.")
    parser.add_argument("file", metavar="FILE", help=".mat of the authors of SRCNN and FSRCNN; .ckpt, .pt, .pth, .safetensors")
    given = parser.parse_args(arguments)
    try:
        text = describe(given.file)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    # To a terminal that may not know every letter of a name.
    encoding = sys.stdout.encoding or "utf-8"
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)
    except BrokenPipeError:  # of `| head`; nothing more can be written, at exit neither
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
