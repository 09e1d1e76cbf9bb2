"""From a checkpoint to a file in another format, compared with the network before it is written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vsr.errors import UserError
from vsr.inference.export import Format
from vsr.inference.export.formats import MAKERS, Made, Task
from vsr.inference.export.function import INPUT, OUTPUT, Axes, Size, described
from vsr.inference.trained import read_trained
from vsr.system.files import replacing
from vsr.training.modules.base import SRModule

TOLERANCE = 1e-4  # of the output's spread: sums in another order differ by a tenth of that in the deepest networks
ROUNDINGS = 8  # last digits of float32, for values whose spread is small beside them


@dataclass(frozen=True)
class Difference:
    """The largest between a file and its network. value: in physical units; share: of the output's standard deviation."""

    value: float
    share: float


@dataclass(frozen=True)
class Report:
    """What was written. lines: the same for people."""

    path: Path
    difference: Difference
    facts: dict[str, str]
    lines: list[str]


def export(
    checkpoint: Path, format_: Format, output: Path | None = None, *, overwrite: bool = False, consistency: str | None = None
) -> Report:
    """Write the network of a checkpoint in another format, as a function of LR frames in physical units, float32.

    Args:
        checkpoint: a checkpoint of vsr. format_: one of three.
        output: the file; None for the checkpoint's name with the format behind it.
        overwrite: replace a file that is there.
        consistency: "none" for the network alone, of a checkpoint that makes its frames agree with LR; what does that works on
            whole frames, for each size with matrices of its own, and is in no file.

    Raises UserError for a file that is not a checkpoint, that exists or cannot be written, for a network that the format does not
    know, and when the file would compute something else than the network.
    """
    output = output or checkpoint.with_suffix(f".{format_}")
    if output.exists() and output.samefile(checkpoint):
        raise UserError(f"output={output}: is the checkpoint; type another name")
    if output.exists() and not overwrite:
        raise UserError(f"{output}: exists; type overwrite=true to replace it, or another output=PATH")
    trained = read_trained(checkpoint)
    if "none" not in (trained.config.consistency, consistency) and format_ != "safetensors":
        raise UserError(
            f"{checkpoint}: makes its frames agree with LR by consistency={trained.config.consistency}, which format={format_} "
            f"has no place for; type consistency=none to write the network alone"
        )
    module = trained.module()
    axes, facts = Axes.of(module, trained.channels), described(trained, module)
    made = MAKERS[format_](Task(trained, module, axes, facts))
    difference = compared(made, trained.module(), axes, output)
    try:
        with replacing(output) as temporary:
            temporary.write_bytes(made.content)
    except OSError as error:
        detail = error.strerror or error
        raise UserError(f"{output}: cannot be written ({detail}); type output=PATH in a folder of yours") from error
    return Report(output, difference, facts, _lines(output, format_, made, axes, difference, facts))


def compared(made: Made, module: SRModule, axes: Axes, output: Path) -> Difference:
    """The largest difference between a file and the network as it is trained, on noise within the bounds, over several sizes.

    Raises UserError where the file fails, gives another size, or differs by more than float32's rounding.
    """
    found = []
    for size in axes.trials:
        at = "x".join(map(str, size))
        lr = _noise(size, module)
        with torch.inference_mode():
            expected = module.normalizer.inverse(module.network(module.normalizer(lr)))
            try:
                given = made.run(lr)
            except Exception as error:  # runtimes have errors of their own
                detail = (str(error).strip().splitlines() or [type(error).__name__])[-1]
                raise UserError(
                    f"{output}: not written, as it fails at an input of {at} ({detail}); try another format"
                ) from error
        if given.shape != expected.shape:
            shapes = f"gives {tuple(given.shape)} at {at}, the network {tuple(expected.shape)}"
            raise UserError(f"{output}: not written, as it {shapes}; try another format")
        spread, largest = float(expected.std()), float(expected.abs().max())
        value = float((given - expected).abs().max())
        share = value / spread if value else 0.0
        # Written so that NaN does not pass.
        if not value <= TOLERANCE * spread + ROUNDINGS * torch.finfo(torch.float32).eps * largest:
            raise UserError(
                f"{output}: not written, as it differs from the network by {share:.1e} of the output's spread at {at} "
                f"(allowed: {TOLERANCE:.0e}); try another format"
            )
        found.append(Difference(value, share))
    return max(found, key=lambda difference: difference.share)


def _noise(size: Size, module: SRModule) -> Tensor:
    low, high = module.normalizer.bounds
    return low + (high - low) * torch.rand(size, generator=torch.Generator().manual_seed(0))


def _lines(output: Path, format_: Format, made: Made, axes: Axes, difference: Difference, facts: dict[str, str]) -> list[str]:
    units = f" {facts['units']}" if facts["units"] not in ("", "1") else ""
    trials = ", ".join("x".join(map(str, size)) for size in axes.trials)
    largest = f"differs by {difference.value:.1e}{units} at most, {difference.share:.1e} of the output's spread"
    rows = {
        "format": f"{made.note}; {_amount(len(made.content))}",
        "network": f"{facts['name']}, {facts['kind']}, x{facts['scale']}, checkpoint {facts['checkpoint'][:12]}",
    }
    if format_ == "safetensors":
        rows["use"] = f"python train.py init=checkpoint init.path={output}"
    else:
        rows["input"] = f"{INPUT} {axes.names}"
        rows["output"] = f"{OUTPUT} {axes.result}; float32, physical units, like the input"
    rows["compared"] = f"with the network at {trials}: {largest if difference.value else 'the same'}"
    return [str(output), *(f"  {key:<9} {text}" for key, text in rows.items())]


def _amount(count: int) -> str:
    return f"{count / 1024:.1f} KiB" if count < 2**20 else f"{count / 2**20:.1f} MiB"
