"""List the networks of the package, or print the content of a weight file: `vsr weights [FILE]`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from vsr.models.weights.shipped import WORD, ShippedFile, find_shipped, is_shipped_name, list_shipped


def weights_command(arguments: Sequence[str]) -> None:
    """Run `vsr weights`: list the networks of the package, or print a table of the tensors in a weight file.

    Args:
        arguments: The command line after the name of the command.

    Raises:
        UserError: The file cannot be read.
    """
    parser = argparse.ArgumentParser(
        prog="vsr weights", description="List the networks of the package, or print the tensors of a weight file."
    )
    known = f".mat of the authors of SRCNN and FSRCNN; .ckpt, .pt, .pth, .safetensors; {WORD}:NAME; without one, the package's"
    parser.add_argument("file", metavar="FILE", nargs="?", help=known)
    file = parser.parse_args(arguments).file
    if file is None:
        print(_table(list_shipped()))
        return
    from vsr.models.weights.files import describe_weight_file  # torch only now

    print(describe_weight_file(find_shipped(file) if is_shipped_name(file) else file))


def _table(files: Sequence[ShippedFile]) -> str:
    whole, starts = ([found for found in files if found.complete is complete] for complete in (True, False))
    lines = [f"Networks: vsr upscale checkpoint={WORD}:NAME input=FILE, vsr.load('{WORD}:NAME')"]
    lines += [f"  {found.name:<12} {_size(found):>9}  {found.header.get('summary', '')}" for found in whole]
    lines += ["", "Starts of a training on pictures (init=pretrained); PSNR of four test pictures, dB: bicubic, linear, network"]
    for found in starts:
        scores = ", ".join(found.header.get(f"psnr_{method}", "?") for method in ("bicubic", "linear", "network"))
        lines.append(f"  {found.name:<12} {_size(found):>9}  {scores}")
    return "\n".join([*lines, "", f"Each has a card with data, recipe, scores, terms and limits: {files[0].path.parent}"])


def _size(found: ShippedFile) -> str:
    return f"{found.path.stat().st_size / 1024:.0f} KiB"
