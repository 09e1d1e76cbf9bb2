"""The commands of vsr: `python -m vsr COMMAND ...`."""

from __future__ import annotations

import sys
from importlib import import_module

from vsr.errors import UserError, suggestion

COMMANDS = {
    "inspect": "show what is in a data file, and the command that trains on it",
    "compare": "put runs side by side, on a page",
    "export": "write a trained network for other programs",
    "weights": "show what is in a weight file",
    "budget": "measure the time per training step",
    "fetch": "download the two movies of the report",
}


def main() -> None:
    """Run the command that the first argument names."""
    name, arguments = (sys.argv[1:2] or ["--help"])[0], sys.argv[2:]
    if name in ("--help", "-h"):
        print("Usage: python -m vsr COMMAND ...\n")
        print("\n".join(f"  {command:<8} {text}" for command, text in COMMANDS.items()))
        print("\nTrain, evaluate and upscale with train.py, evaluate.py and upscale.py.")
    elif name in COMMANDS:
        try:
            import_module(f"vsr.commands.{name}").main(arguments)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(1)
    else:
        print(f"error: {name}: unknown command{suggestion(name, COMMANDS)}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
