"""Print the content of a weight file: `vsr weights FILE`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from vsr.models.weights.files import describe_weight_file


def weights_command(arguments: Sequence[str]) -> None:
    """Run `vsr weights`: print a table of the tensors in a weight file.

    Args:
        arguments: The command line after the name of the command.

    Raises:
        UserError: The file cannot be read.
    """
    parser = argparse.ArgumentParser(prog="vsr weights", description="Print the tensors of a weight file.")
    parser.add_argument("file", metavar="FILE", help=".mat of the authors of SRCNN and FSRCNN; .ckpt, .pt, .pth, .safetensors")
    print(describe_weight_file(parser.parse_args(arguments).file))
