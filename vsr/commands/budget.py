"""Measure the time per training step: `vsr budget KEY=VALUE ...`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from omegaconf import OmegaConf

from vsr.config import CONF

HELP = """\
Measure the time per training step and the time that an epoch adds to its steps: vsr budget [KEY=VALUE ...]

Takes the arguments of train.py and prints one line of JSON, in seconds: {"step": 0.0125, "epoch": 0.31}. For two stages these are
sums, weighted by init.epochs/epochs. No network is trained."""


def budget_command(arguments: Sequence[str]) -> None:
    """Print the seconds per training step and per epoch as JSON. Raises UserError if the config is wrong."""
    from vsr.config.compose import Composer
    from vsr.config.plugins import split_plugin_folder, take_plugins

    if {"--help", "-h"} & set(arguments):
        print(HELP)
        return
    _, overrides = split_plugin_folder(take_plugins(arguments))
    config = Composer(CONF.parent / "train.py", CONF).config(overrides)
    from vsr.training.budget.step_time import measure_step_rate_of_config

    print(json.dumps(asdict(measure_step_rate_of_config(OmegaConf.create(config)))))
