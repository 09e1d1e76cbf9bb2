"""What was typed for a leaderboard."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.leaderboard.plan import BASELINES, BUDGETS, CONF, DATA, GROUPS, MODELS
from vsr.config.duration import seconds_of
from vsr.errors import UserError, suggestion
from vsr.system.jobs import cores
from vsr.training.budget.plan import Plan

KEYS = (
    *("models", "data", "budgets", "only", "seeds", "jobs", "out", "page"),
    *("precision", "rates", "speed", "frame", "families", "render"),
)
HELP = """\
Compare the networks at equal training budgets: python -m benchmarks.leaderboard [KEY=VALUE ...]

Keys, lists as [a,b]:
  models: all         # {models}; further ones of conf/model
  data: all           # {data}
  budgets: [{budgets}]  # 90s, 5min, 1.5h; only=1min is budgets=[1min]
  seeds: 1
  jobs: null          # runs at a time; null: one per core
  rates: null         # again: measure anew how fast each network trains, which makes other runs
  speed: null         # again: measure the frames per second anew
  frame: 256          # LR pixels per side on which they are measured
  families: true      # test the networks of the presets on other families of climate data, too
  render: false       # true: only write the page, from what is there
  precision: null     # of training; null: bf16 where the CPU computes in it, else 32
  out: runs/leaderboard  # folder of the runs and of rates.json
  page: null          # null: docs/results/leaderboard.md; with leaderboard.json, and figures in ../images
  {groups}.KEY: ...  # of that kind of data: movies.path=FOLDER images.path=T91
  GROUP.KEY: ...      # of all runs, as train.py takes it: recipe.rate=2e-3 trainer.accelerator=cpu

Runs that are there with the same config are not made again, interrupted ones go on; what was not run is a dash on the page."""


def help_text() -> str:
    """With the names that there are."""
    return HELP.format(models=", ".join(MODELS), data=", ".join(DATA), budgets=",".join(BUDGETS), groups=".KEY, ".join(GROUPS))


@dataclass
class Order:
    """Keys and values; empty lists stand for all."""

    models: list[str] = field(default_factory=list)
    data: list[str] = field(default_factory=list)
    budgets: list[str] = field(default_factory=list)
    typed: dict[str, tuple[str, ...]] = field(default_factory=dict)
    every: list[str] = field(default_factory=list)
    seeds: int = 1
    jobs: int = field(default_factory=cores)
    frame: int = 256
    out: Path = Path("runs/leaderboard")
    page: Path | None = None
    precision: str | None = None
    rates: bool = False
    speed: bool = False
    families: bool = True
    render: bool = False
    plan: Plan | None = None  # for tests: so many epochs of so many steps in place of budgets, plan=EPOCHSxSTEPS


def parsed(arguments: Sequence[str]) -> Order:
    """The keys and values of a command line. Raises UserError, with what to type instead."""
    order = Order()
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals or not value:
            raise UserError(f"{argument}: type KEY=VALUE; python -m benchmarks.leaderboard --help lists the keys")
        group, dot, rest = key.partition(".")
        if dot and group in GROUPS:
            order.typed[group] = (*order.typed.get(group, ()), f"data.{rest}={value}")
        elif dot:
            order.every.append(argument)
        else:
            _take(order, key, value)
    if order.plan is not None and order.budgets:
        raise UserError("plan: is in place of budgets; leave one of them out")
    return order


def _take(order: Order, key: str, value: str) -> None:
    """One key without a dot."""
    if key == "models":
        order.models = _names(key, value, [*MODELS, *(p.stem for p in CONF.glob("model/*.yaml") if p.stem not in BASELINES)])
    elif key == "data":
        order.data = _names(key, value, DATA)
    elif key in ("budgets", "only"):
        names = dict.fromkeys([*order.budgets, *_list(value)])
        order.budgets = sorted(names, key=seconds_of)
        if key == "only" and len(names) > 1:
            raise UserError(f"only={value}: is one budget, beside no others; type budgets=[{','.join(order.budgets)}]")
    elif key in ("seeds", "jobs", "frame"):
        least = 16 if key == "frame" else 1
        if not value.isdecimal() or int(value) < least:
            raise UserError(f"{key}={value}: must be a whole number, {least} or more; type {key}={least}")
        setattr(order, key, int(value))
    elif key in ("out", "page"):
        setattr(order, key, Path(value).expanduser())
    elif key == "precision":
        order.precision = value
    elif key in ("rates", "speed"):
        setattr(order, key, _one_of(key, value, {"again": True, "null": False}))
    elif key in ("families", "render"):
        setattr(order, key, _one_of(key, value, {"true": True, "false": False}))
    elif key == "plan":
        order.plan = _plan(value)
    else:
        raise UserError(f"{key}: unknown key{suggestion(key, (*KEYS, 'movies.path', 'images.path'))}")


def _list(value: str) -> list[str]:
    return [name.strip() for name in value.strip("[]").split(",") if name.strip()]


def _names(key: str, value: str, known: Iterable[str]) -> list[str]:
    """Those of a list, all known. Raises UserError."""
    names, there = list(dict.fromkeys(_list(value))), set(known)
    for name in names:
        if name not in there:
            raise UserError(f"{key}={value}: {name} is none{suggestion(name, there)}")
    if not names:
        raise UserError(f"{key}={value}: names nothing; leave the key out for all")
    return names


def _one_of(key: str, value: str, values: dict[str, bool]) -> bool:
    if value not in values:
        raise UserError(f"{key}={value}: type {' or '.join(f'{key}={name}' for name in values)}")
    return values[value]


def _plan(value: str) -> Plan:
    epochs, _, steps = value.partition("x")
    if not all(number.isdecimal() and int(number) > 0 for number in (epochs, steps)):
        raise UserError(f"plan={value}: type EPOCHSxSTEPS, for example plan=2x10")
    return Plan(int(epochs), int(steps))
