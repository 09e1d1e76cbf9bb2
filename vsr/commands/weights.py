"""Show what is in a weight file: `python -m vsr weights FILE`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from vsr.models.weights.files import describe


def main(arguments: Sequence[str]) -> None:
    """Print a table of the file. Raises UserError if it cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m vsr weights", description="Show what a weight file holds.")
    parser.add_argument("file", metavar="FILE", help=".mat of the authors of SRCNN and FSRCNN; .ckpt, .pt, .pth, .safetensors")
    print(describe(parser.parse_args(arguments).file))
