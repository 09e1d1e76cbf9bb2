"""What is compared: networks, data, budgets, presets, and the runs of train.py that this comes to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from omegaconf import OmegaConf

from vsr.config import CONF
from vsr.config.duration import seconds_of
from vsr.training.budget.plan import Plan

MODELS: dict[str, tuple[str, ...]] = {  # what stands in a row, and what train.py is told
    "plain": ("model=plain",),
    "plain_24": ("model=plain_24",),
    "fsrcnn": ("model=fsrcnn",),
    "fsrcnn_s": ("model=fsrcnn_s",),
    "fsrcnn_56": ("model=fsrcnn_56",),
    "srcnn": ("model=srcnn",),
    "edsr": ("model=edsr",),
    "edsr_baseline": ("model=edsr_baseline",),
    "srnet3d": ("model=srnet3d",),
    "srnet3d_kim": ("model=srnet3d_kim",),
    "resnet": ("model=resnet",),
    "stacked": ("model=stacked",),
}
MOVIES = ("srnet3d", "srnet3d_kim", "stacked")  # those that see neighbouring frames
BASELINES = ("bicubic", "linear")
BUDGETS = ("1min", "5min", "30min")
FAMILIES = ("tide", "bores", "turbulence")  # of the climate data, learned from and tested on
REGIMES = ("strong_tide", "thin_bores")  # only tested on: another forcing, another depth ratio
PHOTOGRAPHS = ("fsrcnn", "edsr", "resnet")
MORE = ("plain", "resnet", "stacked")  # the presets' networks, on more training frames


class Preset(NamedTuple):
    """The row that a preset is picked from."""

    model: str
    budget: str


def presets() -> dict[str, Preset]:
    """Those of conf/preset/, the shortest first."""
    found = {}
    for path in CONF.glob("preset/*.yaml"):
        node: Any = OmegaConf.to_container(OmegaConf.load(path))
        model = next(default["override /model"] for default in node["defaults"] if "override /model" in default)
        found[path.stem] = Preset(model, node["budget"])
    return dict(sorted(found.items(), key=lambda item: seconds_of(item[1].budget)))


@dataclass(frozen=True)
class Source:
    """A kind of data: `rate` is shared by sources whose steps and frames are of one size, `models` None takes all networks."""

    group: str  # of conf/data, and of the keys at the command line
    overrides: tuple[str, ...]
    rate: str
    models: tuple[str, ...] | None = None


DATA = {
    **{family: Source("climate", ("data=climate", f"data.family={family}"), "climate") for family in FAMILIES},
    "more_bores": Source("climate", ("data=climate", "data.family=bores", "data.learn=600"), "climate", MORE),
    "phantom": Source("phantom", ("data=phantom",), "phantom"),
    "movie": Source("movies", ("data=movies",), "movies"),
    "photographs": Source("images", ("data=images", "protocol=classical"), "photographs", PHOTOGRAPHS),
}
GROUPS = tuple(dict.fromkeys(source.group for source in DATA.values()))


class Cell(NamedTuple):
    """What a run is for."""

    data: str
    budget: str
    model: str

    @property
    def name(self) -> str:
        """Of the run and its folder."""
        return "-".join(self)


@dataclass(frozen=True)
class Choice:
    """What is on the page, and which of it is to be run.

    Attributes:
        models: label -> overrides, all that have rows. chosen_models, chosen_data, chosen_budgets: those that are run.
        budgets: those that have tables. typed: overrides of the data by group. every: overrides of all runs.
        precision: of training.
    """

    models: Mapping[str, tuple[str, ...]]
    budgets: Sequence[str]
    chosen_models: Sequence[str]
    chosen_data: Sequence[str]
    chosen_budgets: Sequence[str]
    precision: str
    typed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    every: tuple[str, ...] = ()

    def cells(self) -> Iterator[Cell]:
        """Every run that the page has a place for, short budgets first: a leaderboard that is stopped has whole tables."""
        for budget in self.budgets:
            for name, source in DATA.items():
                for model in self.models:
                    if source.models is None or model in source.models:
                        yield Cell(name, budget, model)

    def chosen(self, cell: Cell) -> bool:
        """Whether it is to be run."""
        return cell.data in self.chosen_data and cell.budget in self.chosen_budgets and cell.model in self.chosen_models

    def overrides(self, data: str, model: str) -> tuple[str, ...]:
        """Of all runs of a network on a source, whatever the budget."""
        fast = (f"precision={self.precision}", "channels_last=true")
        return (*self.models[model], *self.data(data), *fast, *self.every)

    def data(self, name: str) -> tuple[str, ...]:
        """Overrides that choose a source."""
        return (*DATA[name].overrides, *self.typed.get(DATA[name].group, ()))

    def elsewhere(self, family: str) -> tuple[str, ...]:
        """Overrides that choose another family of climate data to test on."""
        return ("data=climate", f"data.family={family}", *self.typed.get("climate", ()))

    def run(self, cell: Cell, plan: Plan) -> tuple[str, ...]:
        """Overrides of a run to the end of its plan: one that stopped early would not have had its budget."""
        length = (f"epochs={plan.epochs}", f"recipe.steps={plan.steps}", "patience=null")
        return (*self.overrides(cell.data, cell.model), *length)
