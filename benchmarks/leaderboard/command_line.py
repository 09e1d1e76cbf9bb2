"""Options of `python -m benchmarks.leaderboard`: parsing and help."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.leaderboard.experiments import BASELINES, BUDGETS, CONF, DATA, GROUPS, MODELS
from vsr.config.duration import parse_duration
from vsr.errors import UserError, error_suggestion
from vsr.system.cpu import usable_cores
from vsr.training.budget.plan import BudgetPlan

KEYS = (
    *("models", "data", "budgets", "only", "seeds", "jobs", "out", "page"),
    *("precision", "rates", "speed", "frame", "families", "render", "continue"),
)
HELP = """\
Compare the networks at equal training budgets: python -m benchmarks.leaderboard [KEY=VALUE ...]

Keys, lists as [a,b]:
  models: all         # {models}; or any other network of conf/model
  data: all           # {data}
  budgets: [{budgets}]  # 90s, 5min, 1.5h; only=1min is budgets=[1min]
  seeds: 1
  jobs: null          # runs at a time; null: one per core
  rates: null         # again: measure the training speeds anew; the budgets then give other runs
  speed: null         # again: measure the frames per second anew
  frame: 256          # LR pixels per side for the frames per second
  families: true      # test the networks of the presets on the other families of climate data, too
  render: false       # true: write the page from existing runs and run nothing
  continue: true      # runs and speeds in leaderboard.json beside the page are not repeated; false: run everything here
  precision: null     # training precision; null: bf16 where the CPU computes in it, else 32
  out: runs/leaderboard  # folder of the runs and of rates.json
  page: null          # null: docs/results/leaderboard.md; with leaderboard.json, and figures in ../images
  {groups}.KEY: ...  # a key of these data: movies.path=FOLDER images.path=T91
  GROUP.KEY: ...      # a key of train.py for all runs: recipe.rate=2e-3 trainer.accelerator=cpu

A run that exists with the same config is not repeated, so that the runs can be split over several sittings and machines; an
interrupted run continues. The page shows a dash for a missing run."""


def help_text() -> str:
    """Return the help, with the names of all networks, data and budgets."""
    return HELP.format(models=", ".join(MODELS), data=", ".join(DATA), budgets=",".join(BUDGETS), groups=".KEY, ".join(GROUPS))


@dataclass
class Options:
    """The options; an empty list means all."""

    models: list[str] = field(default_factory=list)
    data: list[str] = field(default_factory=list)
    budgets: list[str] = field(default_factory=list)
    typed: dict[str, tuple[str, ...]] = field(default_factory=dict)
    every: list[str] = field(default_factory=list)
    seeds: int = 1
    jobs: int = field(default_factory=usable_cores)
    frame: int = 256
    out: Path = Path("runs/leaderboard")
    page: Path | None = None
    precision: str | None = None
    rates: bool = False
    speed: bool = False
    families: bool = True
    render: bool = False
    go_on: bool = True
    plan: BudgetPlan | None = None  # for tests: plan=EPOCHSxSTEPS replaces the budgets


def parse_options(arguments: Sequence[str]) -> Options:
    """Parse KEY=VALUE arguments. Raises UserError that says what to type instead."""
    options = Options()
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals or not value:
            raise UserError(f"{argument}: type KEY=VALUE; python -m benchmarks.leaderboard --help lists the keys")
        group, dot, rest = key.partition(".")
        if dot and group in GROUPS:
            options.typed[group] = (*options.typed.get(group, ()), f"data.{rest}={value}")
        elif dot:
            options.every.append(argument)
        else:
            _take(options, key, value)
    if options.plan is not None and options.budgets:
        raise UserError("plan and budgets exclude each other; leave one of them out")
    return options


def _take(options: Options, key: str, value: str) -> None:
    """Store one key without a dot."""
    if key == "models":
        options.models = _names(key, value, [*MODELS, *(p.stem for p in CONF.glob("model/*.yaml") if p.stem not in BASELINES)])
    elif key == "data":
        options.data = _names(key, value, DATA)
    elif key in ("budgets", "only"):
        names = dict.fromkeys([*options.budgets, *_list(value)])
        options.budgets = sorted(names, key=parse_duration)
        if key == "only" and len(names) > 1:
            raise UserError(f"only={value}: takes a single budget; type budgets=[{','.join(options.budgets)}]")
    elif key in ("seeds", "jobs", "frame"):
        least = 16 if key == "frame" else 1
        if not value.isdecimal() or int(value) < least:
            raise UserError(f"{key}={value}: must be a whole number, {least} or more; type {key}={least}")
        setattr(options, key, int(value))
    elif key in ("out", "page"):
        setattr(options, key, Path(value).expanduser())
    elif key == "precision":
        options.precision = value
    elif key in ("rates", "speed"):
        setattr(options, key, _one_of(key, value, {"again": True, "null": False}))
    elif key in ("families", "render", "continue"):
        setattr(options, "go_on" if key == "continue" else key, _one_of(key, value, {"true": True, "false": False}))
    elif key == "plan":
        options.plan = _plan(value)
    else:
        raise UserError(f"{key}: unknown key{error_suggestion(key, (*KEYS, 'movies.path', 'images.path'))}")


def _list(value: str) -> list[str]:
    return [name.strip() for name in value.strip("[]").split(",") if name.strip()]


def _names(key: str, value: str, known: Iterable[str]) -> list[str]:
    """Parse a list of known names. Raises UserError for an unknown name or an empty list."""
    names, there = list(dict.fromkeys(_list(value))), set(known)
    for name in names:
        if name not in there:
            raise UserError(f"{key}={value}: unknown name {name}{error_suggestion(name, there)}")
    if not names:
        raise UserError(f"{key}={value}: names nothing; leave the key out for all")
    return names


def _one_of(key: str, value: str, values: dict[str, bool]) -> bool:
    if value not in values:
        raise UserError(f"{key}={value}: type {' or '.join(f'{key}={name}' for name in values)}")
    return values[value]


def _plan(value: str) -> BudgetPlan:
    epochs, _, steps = value.partition("x")
    if not all(number.isdecimal() and int(number) > 0 for number in (epochs, steps)):
        raise UserError(f"plan={value}: type EPOCHSxSTEPS, for example plan=2x10")
    return BudgetPlan(int(epochs), int(steps))
