"""Export of a checkpoint to another file format, with a comparison to the network before the file is written."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vsr.errors import UserError
from vsr.inference.export import Format
from vsr.inference.export.formats import EXPORTERS, ExportedFile, ExportTask
from vsr.inference.export.function import INPUT, OUTPUT, InputAxes, Size, describe_exported_function
from vsr.inference.trained import Trained, read_trained
from vsr.models.super_resolver import SuperResolver
from vsr.system.files import replacing_file

TOLERANCE = 1e-4  # of the standard deviation of the output: another order of sums costs a tenth of that in the deepest networks
ROUNDINGS = 8  # units in the last place of float32, for values whose standard deviation is small beside them


@dataclass(frozen=True)
class ExportReport:
    """Report on an exported file: path, metadata, largest difference from the network in physical units, lines to print."""

    path: Path
    facts: dict[str, str]
    difference: float
    lines: list[str]


def export_checkpoint(
    checkpoint: Path, format_: Format, output: Path | None = None, *, overwrite: bool = False, consistency: str | None = None
) -> ExportReport:
    """Write the network of a checkpoint in another format, as a function of LR frames in physical units, float32.

    Args:
        checkpoint: A checkpoint of vsr.
        format_: "onnx", "safetensors" (the weights alone) or "torchscript".
        output: The file to write; None for the name of the checkpoint with the format as suffix.
        overwrite: True to replace an existing file.
        consistency: "none" to export the network without the consistency correction of its checkpoint. ONNX and TorchScript
            files cannot hold the correction, which acts on whole frames.

    Returns:
        The report on the written file.

    Raises:
        UserError: If the checkpoint cannot be read or has a consistency that the format cannot hold, if the output exists or
            cannot be written, if the format lacks an operation of the network, or if the file gives other values than the
            network.
    """
    output = output or checkpoint.with_suffix(f".{format_}")
    if output.exists() and output.samefile(checkpoint):
        raise UserError(f"output={output}: is the checkpoint; type another name")
    if output.exists() and not overwrite:
        raise UserError(f"{output}: exists; type overwrite=true to replace it, or another output=PATH")
    trained = read_trained(checkpoint)
    check_exportable(trained, format_, consistency)
    module = trained.module()
    axes, facts = InputAxes.of(module, trained.channels), describe_exported_function(trained, module)
    exported = EXPORTERS[format_](ExportTask(trained, module, axes, facts))
    difference, share = _compare(exported, trained.module(), axes, output)
    try:
        with replacing_file(output) as temporary:
            temporary.write_bytes(exported.content)
    except OSError as error:
        detail = error.strerror or error
        raise UserError(f"{output}: cannot be written ({detail}); type output=PATH in a folder of yours") from error
    units = f" {facts['units']}" if facts["units"] not in ("", "1") and "variables" not in facts else ""
    largest = f"differs by {difference:.1e}{units} at most, {share:.1e} of the output's spread" if difference else "the same"
    return ExportReport(output, facts, difference, _summarize(output, format_, exported, axes, facts, largest))


def check_exportable(trained: Trained, format_: str, consistency: str | None) -> None:
    """Raise UserError for a checkpoint that is more than a function of LR frames, or has a consistency to be left out."""
    if "none" not in (trained.config.consistency, consistency) and format_ != "safetensors":
        raise UserError(
            f"{trained.path}: makes its frames agree with LR by consistency={trained.config.consistency}, which format={format_} "
            f"has no place for; type consistency=none to write the network alone"
        )
    if not trained.layout.plain:
        raise UserError(
            f"{trained.path}: sees time, position or further variables, or pairs that are no cells, which a function of LR "
            f"frames alone cannot make; use vsr upscale or vsr.load"
        )


def _compare(exported: ExportedFile, module: SuperResolver, axes: InputAxes, output: Path) -> tuple[float, float]:
    """Compare an exported file with its network on noise within the training bounds, at several input sizes.

    Returns:
        The largest difference, in physical units and divided by the standard deviation of the output.

    Raises:
        UserError: If the file fails, gives another output size, or differs by more than rounding in float32.
    """
    differences = []
    for size in axes.test_sizes:
        at = "x".join(map(str, size))
        lr = _noise(size, module)
        with torch.inference_mode():
            expected = module.normalizer.inverse(module.network(module.normalizer(lr)))
            try:
                given = exported.run(lr)
            except Exception as error:  # each runtime has its own errors
                detail = (str(error).strip().splitlines() or [type(error).__name__])[-1]
                raise UserError(
                    f"{output}: not written, as it fails at an input of {at} ({detail}); try another format"
                ) from error
        if given.shape != expected.shape:
            shapes = f"gives {tuple(given.shape)} at {at}, the network {tuple(expected.shape)}"
            raise UserError(f"{output}: not written, as it {shapes}; try another format")
        pairs = zip(given.unbind(1), expected.unbind(1), strict=True) if module.normalizer.low.ndim else [(given, expected)]
        for found, true in pairs:
            spread, largest = float(true.std()), float(true.abs().max())
            value = float((found - true).abs().max())
            share = value / spread if value else 0.0
            # In this form NaN does not pass.
            if not value <= TOLERANCE * spread + ROUNDINGS * torch.finfo(torch.float32).eps * largest:
                raise UserError(
                    f"{output}: not written, as it differs from the network by {share:.1e} of the output's spread at {at} "
                    f"(allowed: {TOLERANCE:.0e}); try another format"
                )
            differences.append((value, share))
    return max(differences, key=lambda difference: difference[1])


def _noise(size: Size, module: SuperResolver) -> Tensor:
    return module.normalizer.inverse(torch.rand(size, generator=torch.Generator().manual_seed(0)))


def _summarize(
    output: Path, format_: Format, exported: ExportedFile, axes: InputAxes, facts: dict[str, str], compared: str
) -> list[str]:
    """Return lines of text that describe the exported file."""
    trials = ", ".join("x".join(map(str, size)) for size in axes.test_sizes)
    rows = {
        "format": f"{exported.note}; {format_size(len(exported.content))}",
        "network": f"{facts['name']}, {facts['kind']}, x{facts['scale']}, checkpoint {facts['checkpoint'][:12]}",
    }
    if format_ == "safetensors":
        rows["use"] = f"vsr train init=checkpoint init.path={output}"
    else:
        rows["input"] = f"{INPUT} {axes.input_text}"
        rows["output"] = f"{OUTPUT} {axes.output_text}; float32, physical units, like the input"
        if np.any(offset := json.loads(facts["offset"])):
            text = ", ".join(f"{value:.17g}" for value in np.atleast_1d(offset))
            rows["offset"] = f"{text}: take it off the input and add it to the output, in float64"
        if "variables" in facts:
            rows["channels"] = ", ".join(json.loads(facts["variables"]))
    rows["compared"] = f"with the network at {trials}: {compared}"
    return [str(output), *(f"  {key:<9} {text}" for key, text in rows.items())]


def format_size(count: int) -> str:
    """Format a number of bytes, such as "1.5 MiB"."""
    return f"{count / 1024:.1f} KiB" if count < 2**20 else f"{count / 2**20:.1f} MiB"
