"""Measure the time per training step: `python -m vsr budget KEY=VALUE ...`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from omegaconf import OmegaConf

from vsr.config import CONF

if TYPE_CHECKING:
    pass


HELP = """\
What a training step takes here, and what an epoch adds to its steps: python -m vsr budget [KEY=VALUE ...]

Takes what train.py takes and prints one line of JSON, in seconds: {"step": 0.0125, "epoch": 0.31}. Of two stages these are sums,
weighted by init.epochs/epochs. Nothing is trained."""


def main(arguments: Sequence[str]) -> None:
    """Print the rate of a config. Raises UserError."""
    from vsr.config.compose import Composer

    if {"--help", "-h"} & set(arguments):
        print(HELP)
        return
    config = Composer(CONF.parent / "train.py", CONF).config(arguments)
    from vsr.training.budget.step_time import rate_of

    print(json.dumps(asdict(rate_of(OmegaConf.create(config)))))
