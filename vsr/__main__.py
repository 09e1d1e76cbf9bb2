"""Command line of vsr: `vsr COMMAND ...`, or `python -m vsr COMMAND ...`."""

from __future__ import annotations

import io
import runpy
import sys
from collections.abc import Sequence
from importlib import import_module

from vsr.errors import UserError, error_suggestion
from vsr.version import __version__

HYDRA_COMMANDS = {
    "train": "train a network and score it",
    "evaluate": "score trained networks",
    "upscale": "sharpen a movie with a trained network",
}
COMMANDS = HYDRA_COMMANDS | {
    "inspect": "show what is in a data file, and the command that trains on it",
    "compare": "put runs side by side, on a page",
    "export": "write a trained network for other programs",
    "weights": "show what is in a weight file",
    "budget": "measure the time per training step",
    "fetch": "download the two movies of the report",
    "docs": "open the documentation",
}
EXAMPLES = """  vsr train model=fsrcnn data=climate                                  train on a generated climate movie
  vsr evaluate checkpoint=runs/fsrcnn-climate/DATE/checkpoints/best.ckpt   score it on other splits
  vsr upscale checkpoint=best.ckpt input=field.nc                      sharpen a file"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command of vsr and report its errors.

    After a mistake of the user, one line is printed and the exit status is 1; after Ctrl-C the exit status is 130.

    Args:
        arguments: The name of the command and its arguments; None for the arguments of this process.
    """
    name, *rest = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name in ("--help", "-h"):
        print(f"{EXAMPLES}\n\nUsage: vsr COMMAND ...\n")
        print("\n".join(f"  {command:<8} {text}" for command, text in COMMANDS.items()))
        print("\nvsr COMMAND --help lists the keys or options of a command; vsr --version prints the version.")
    elif name == "--version":
        print(f"vsr {__version__}")
    elif name == "upscale" and rest[:1] == ["status"]:
        run_command("status", rest[1:])
    elif name in HYDRA_COMMANDS:
        # As `python -m vsr.commands.NAME`: processes that Lightning starts for other GPUs repeat that.
        sys.argv[1:] = rest
        runpy.run_module(f"vsr.commands.{name}", run_name="__main__", alter_sys=True)
    elif name in COMMANDS:
        run_command(name, rest)
    else:
        _fail(f"{name}: unknown command{error_suggestion(name, COMMANDS)}; vsr --help lists the commands")


def run_command(name: str, arguments: Sequence[str]) -> None:
    """Run a command that does not use Hydra (`vsr.commands.NAME`), and report its errors like `main`."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for names with letters that the terminal does not know
    from vsr.system.progress import printing

    try:
        with printing():
            getattr(import_module(f"vsr.commands.{name}"), f"{name}_command")(arguments)
    except UserError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def _fail(message: str) -> None:
    print(f"error: {UserError(message)}", file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
    main()
