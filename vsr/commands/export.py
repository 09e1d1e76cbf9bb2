"""Write a trained network in a format of other programs: `vsr export checkpoint=FILE format=onnx`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vsr.config.check import find_checkpoint
from vsr.config.plugins import open_announced_plugins, open_plugins, plugin_names
from vsr.errors import UserError, error_suggestion
from vsr.inference.export import FORMATS
from vsr.models.weights.shipped import FOLDER

WEB = "web"  # a folder with a page, and no file for a program
KEYS = ("checkpoint", "format", "output", "overwrite", "consistency", "packages", "plugins")
HELP = """\
Write a trained network for other programs: vsr export checkpoint=FILE format=FORMAT

Keys (key=value):
  checkpoint: ???    # a checkpoint of vsr, the folder of a run, or pretrained:NAME
  format: ???        # onnx, safetensors (weights alone), torchscript, web (a page for browsers)
  output: null       # null: the checkpoint's name with .onnx, .safetensors, .torchscript or .web
  overwrite: false   # replace a file that is there
  consistency: null  # none: the network alone, of a checkpoint that was trained with consistency=...
  packages: null     # format=web: a folder with the archives of npm; null: npm fetches them, once
  plugins: []        # packages whose classes the checkpoint may name

What is written takes LR frames and gives SR frames, both in physical units. It is compared with the network before.
format=web writes a folder with a page that sharpens .npy, NetCDF and pictures in a browser; it requests nothing.
Needs: pip install 'vsr-movies[export]'"""


def _parse_arguments(arguments: Sequence[str]) -> dict[str, Any]:
    """Return the arguments of `export_checkpoint` from a command line. Raises UserError that says what to type instead."""
    given: dict[str, str] = {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if key not in KEYS:
            raise UserError(f"{key}: unknown key{error_suggestion(key, KEYS)}" if equals else f"{argument}: type KEY=VALUE")
        if not value:
            raise UserError(f"{key}: needs a value; type {key}=VALUE")
        if key in given:
            raise UserError(f"{key}: given twice; type it once")
        given[key] = value
    formats = (*FORMATS, WEB)
    for key in ("checkpoint", "format"):
        if key not in given:
            raise UserError(f"{key}: needed; type {key}={'FILE' if key == 'checkpoint' else '|'.join(formats)}")
    if given["format"] not in formats:
        raise UserError(f"format={given['format']}{error_suggestion(given['format'], formats)}")
    overwrite = given.get("overwrite", "false")
    if overwrite not in ("true", "false"):
        raise UserError(f"overwrite={overwrite}: type overwrite=true or overwrite=false")
    checkpoint = find_checkpoint(Path(given["checkpoint"]).expanduser())
    if not checkpoint.is_file():
        raise UserError(f"checkpoint={checkpoint}: no such file")
    consistency = None if given.get("consistency", "null") == "null" else given["consistency"]
    if consistency not in (None, "none"):
        raise UserError(f"consistency={consistency}: a file holds the network alone; type consistency=none")
    packages = None if given.get("packages", "null") == "null" else Path(given["packages"]).expanduser()
    if packages is not None and given["format"] != WEB:
        raise UserError(f"packages={packages}: is for format={WEB}; leave it out")
    beside = Path() if checkpoint.parent == FOLDER else checkpoint.parent  # not among the files of the package
    named = beside / f"{checkpoint.stem}.{given['format']}"
    output = named if given.get("output", "null") == "null" else Path(given["output"]).expanduser()
    return {
        "checkpoint": checkpoint,
        "format_": given["format"],
        "output": output,
        "overwrite": overwrite == "true",
        "consistency": consistency,
        "packages": packages,
        "plugins": plugin_names(given.get("plugins", "")),
    }


def export_command(arguments: Sequence[str]) -> None:
    """Write a network in the format of another program and describe the new file. Raises UserError if that fails."""
    if {"--help", "-h"} & set(arguments):
        print(HELP)
        return
    given = _parse_arguments(arguments)
    open_announced_plugins()
    open_plugins(given.pop("plugins"))
    format_, packages = given.pop("format_"), given.pop("packages")
    if format_ == WEB:
        from vsr.evaluation.web_page import export_web_page  # torch only now

        lines = export_web_page(**given, packages=packages)
    else:
        from vsr.inference.export.checkpoint import export_checkpoint

        lines = export_checkpoint(**given, format_=format_).lines
    print("\n".join(lines))
