"""Composition of the configs of a command line, without running the command."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, Transformer
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from vsr.config.check import check_config
from vsr.config.messages import one_line_message
from vsr.config.plugins import apply_plugins, split_plugin_folder
from vsr.config.schema import register_schemas
from vsr.errors import UserError

# Of the sweep itself: a run of its own knows none of it.
_OF_SWEEP = re.compile(r"hydra[./](sweep|sweeper|launcher|mode|run)([./=]|$)")


_SEARCH = "hparams_search"


@dataclass(frozen=True)
class Interval:
    """Range of numbers for a hyperparameter search, linear or logarithmic, optionally in steps."""

    low: float
    high: float
    log: bool = False
    step: float | None = None


@dataclass(frozen=True)
class SweepCommand:
    """Parts of a command line with -m.

    Attributes:
        fixed: Overrides of every run.
        choices: Swept values by key.
        intervals: Ranges of a search by key.
        sweep: Overrides of the sweep itself, such as hydra.sweep.dir=FOLDER.
        jobs: Number of runs at a time.
        options: Options of every run, such as --config-dir FOLDER.
    """

    fixed: list[str]
    choices: dict[str, list[str]]
    intervals: dict[str, Interval]
    sweep: list[str]
    jobs: int = 1
    options: tuple[str, ...] = ()

    def grid(self) -> list[list[str]]:
        """Return every combination of the choices; the last key changes fastest. Raises UserError if there are intervals."""
        if self.intervals:
            key = next(iter(self.intervals))
            raise UserError(f"{key}: an interval is for a search; type hparams_search=optuna, or {key}=VALUE,VALUE")
        pairs = ([f"{key}={value}" for value in values] for key, values in self.choices.items())
        return [list(one) for one in itertools.product(*pairs)]

    def name(self, script: str) -> str:
        """Return a folder name made of the swept keys and a hash of the command; equal commands have equal names."""
        swept = {**self.choices, **{key: [f"{one.low:g}-{one.high:g}"] for key, one in self.intervals.items()}}
        text = " ".join(f"{key}={','.join(values)}" for key, values in swept.items())
        kept = [part for part in self.sweep if part.startswith(_SEARCH)]
        whole = json.dumps([script, *self.options, sorted([*self.fixed, *kept]), sorted((k, repr(v)) for k, v in swept.items())])
        # Without = and commas, which would have to be quoted in checkpoint=FOLDER.
        short = re.sub(r"[^\w.+-]+", "_", re.sub("['\"]", "", text).replace(",", "+"))[:60].strip("_.+")
        return f"{short or script}-{hashlib.sha256(whole.encode()).hexdigest()[:8]}"


class Composer:
    """Composer and checker of the configs of one command, for sweeps and `vsr budget`.

    Args:
        script: Path of train.py or evaluate.py, whose name selects the main config.
        conf: Folder of the configs.
    """

    def __init__(self, script: Path, conf: Path) -> None:
        self.script, self.conf = script, conf
        register_schemas()
        GlobalHydra.instance().clear()
        initialize_config_dir(str(conf), job_name=script.stem, version_base="1.3")
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        self.hydra = hydra

    def read(self, arguments: Sequence[str]) -> SweepCommand:
        """Sort the arguments of a command line into a SweepCommand. Raises UserError for an argument that a sweep cannot use."""
        kept, arguments = split_plugin_folder(arguments)
        options = [argument for argument in arguments if argument.startswith("-") and argument not in ("-m", "--multirun")]
        if options:
            raise UserError(f"{options[0]}: cannot be combined with -m; type key=value,value")
        lines = [argument for argument in arguments if not argument.startswith("-")]
        fixed: list[str] = []
        sweep: list[str] = []
        jobs = 1
        choices: dict[str, list[str]] = {}
        intervals: dict[str, Interval] = {}
        try:
            overrides = OverridesParser.create(config_loader=self.hydra.config_loader).parse_overrides(lines)
            for one in overrides:
                key, line = one.get_key_element(), str(one.input_line)
                of_sweep = bool(_OF_SWEEP.match(line)) or key.lstrip("+~").partition(".")[0] == _SEARCH
                if one.is_sweep_override() and (of_sweep or one.is_hydra_override() or key == "jobs"):
                    raise UserError(f"{line}: cannot be swept over; type one value")
                if key == "jobs":
                    jobs = _count(one)
                elif one.is_interval_sweep():
                    intervals[key] = _interval(one)
                elif one.is_discrete_sweep():
                    choices[key] = [str(value) for value in one.sweep_iterator(transformer=Transformer.str)]
                elif of_sweep:
                    sweep.append(line)
                else:
                    fixed.append(line)
        except (HydraException, OmegaConfBaseException) as error:
            raise UserError(one_line_message(error, self.conf, self.script.stem)) from error
        return SweepCommand(fixed, choices, intervals, sweep, jobs, tuple(kept))

    def whole(self, command: SweepCommand) -> DictConfig:
        """Compose the config of the sweep itself, with Hydra's own config; the swept keys have their default values."""
        return self._compose([*command.fixed, *command.sweep], RunMode.MULTIRUN)

    def config(self, overrides: Sequence[str]) -> dict[str, Any]:
        """Compose and check the config of one run, and return it as plain values without `resume`.

        Raises UserError if the run itself would refuse the config.
        """
        cfg = self._compose(overrides, RunMode.RUN)
        HydraConfig.instance().set_config(cfg)
        with read_write(cfg), open_dict(cfg):
            del cfg["hydra"]
        apply_plugins(cfg)
        check_config(cfg)
        plain = OmegaConf.to_container(cfg, resolve=True)
        assert isinstance(plain, dict)
        plain.pop("resume", None)
        return json.loads(json.dumps(plain))  # as it reads in a results.json

    def _compose(self, overrides: Sequence[str], mode: RunMode) -> DictConfig:
        try:
            return self.hydra.compose_config(
                config_name=self.script.stem, overrides=list(overrides), run_mode=mode, with_log_configuration=False
            )
        except (HydraException, OmegaConfBaseException) as error:
            missing = re.search(r"Could not find 'hydra/launcher/([^']+)'", str(error))
            if missing and not ConfigStore.instance().list("hydra/launcher").count(f"{missing[1]}.yaml"):
                raise UserError(
                    f"hydra/launcher={missing[1]}: no such launcher; joblib and submitit_slurm need "
                    "pip install 'vsr-movies[cluster]'"
                ) from error
            raise UserError(one_line_message(error, self.conf, self.script.stem)) from error


def _count(override: Override) -> int:
    value = override.value()
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UserError(f"{override.input_line}: must be a whole number of runs at a time, 1 or more")
    return value


def _interval(override: Override) -> Interval:
    sweep = override.value()
    assert isinstance(sweep, IntervalSweep)
    assert sweep.start is not None
    assert sweep.end is not None
    if odd := sweep.tags - {"log"}:
        raise UserError(f"{override.input_line}: of tags, log is known, {', '.join(sorted(odd))} not")
    return Interval(sweep.start, sweep.end, log="log" in sweep.tags)
