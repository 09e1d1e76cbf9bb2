"""Networks, data, budgets and presets of the leaderboard, and the train.py overrides of each run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from omegaconf import OmegaConf

from vsr.config import CONF
from vsr.config.duration import parse_duration
from vsr.training.budget.plan import BudgetPlan

MODELS: dict[str, tuple[str, ...]] = {  # label of the row -> overrides of train.py
    "plain": ("model=plain",),
    "plain_24": ("model=plain_24",),
    "fsrcnn": ("model=fsrcnn",),
    "fsrcnn_s": ("model=fsrcnn_s",),
    "fsrcnn_56": ("model=fsrcnn_56",),
    "srcnn": ("model=srcnn",),
    "edsr": ("model=edsr",),
    "edsr_baseline": ("model=edsr_baseline",),
    "srnet3d": ("model=srnet3d",),
    "srnet3d_clips": ("model=srnet3d", "model.windows=false"),  # a third of the work
    "srnet3d_kim": ("model=srnet3d_kim",),
    "resnet": ("model=resnet",),
    "stacked": ("model=stacked",),
}
MOVIES = ("srnet3d", "srnet3d_clips", "srnet3d_kim", "stacked")  # networks that see neighbouring frames
BASELINES = ("bicubic", "linear")
BUDGETS = ("1min", "5min", "30min")
FAMILIES = ("tide", "bores", "turbulence")  # of the climate data, for training and testing
REGIMES = ("strong_tide", "thin_bores")  # for testing only: another forcing, another depth ratio
PHOTOGRAPHS = ("fsrcnn", "edsr", "resnet")
MORE = ("plain", "resnet", "stacked")  # the presets' networks, on more training frames
SCALES = (3, 4)  # besides x2
SCALED = ("plain", "fsrcnn", "resnet", "stacked")  # the default network and those of the presets, at further scales
CONFIRMATION = ("data.seed=1000", "data.test=240")  # trajectories that no choice of network, recipe or budget has seen


class Preset(NamedTuple):
    """The network and budget of a preset."""

    model: str
    budget: str


def presets() -> dict[str, Preset]:
    """Read the presets of conf/preset/, the shortest budget first."""
    found = {}
    for path in CONF.glob("preset/*.yaml"):
        node: Any = OmegaConf.to_container(OmegaConf.load(path))
        model = next(default["override /model"] for default in node["defaults"] if "override /model" in default)
        found[path.stem] = Preset(model, node["budget"])
    return dict(sorted(found.items(), key=lambda item: parse_duration(item[1].budget)))


@dataclass(frozen=True)
class Source:
    """A data source of the leaderboard.

    Attributes:
        group: file of conf/data, also the prefix of keys on the command line.
        overrides: overrides of train.py that choose the data.
        rate: name of the measured training speed; sources with frames of one size share it.
        models: networks with a row; None means all.
        budgets: budgets with a run; None means all.
    """

    group: str
    overrides: tuple[str, ...]
    rate: str
    models: tuple[str, ...] | None = None
    budgets: tuple[str, ...] | None = None


DATA = {
    **{family: Source("climate", ("data=climate", f"data.family={family}"), "climate") for family in FAMILIES},
    "more_bores": Source("climate", ("data=climate", "data.family=bores", "data.learn=600"), "climate", MORE),
    **{
        f"{family}_x{scale}": Source(
            "climate", ("data=climate", f"data.family={family}", f"scale={scale}"), f"climate_x{scale}", SCALED, ("5min",)
        )
        for scale in SCALES
        for family in reversed(FAMILIES)  # the control first: there the linear filter is the hardest to beat
    },
    "phantom": Source("phantom", ("data=phantom",), "phantom"),
    "movie": Source("movies", ("data=movies",), "movies"),
    "photographs": Source("images", ("data=images", "protocol=classical"), "photographs", PHOTOGRAPHS),
}
GROUPS = tuple(dict.fromkeys(source.group for source in DATA.values()))


class Cell(NamedTuple):
    """One cell of the tables: data, budget and network of a run."""

    data: str
    budget: str
    model: str

    @property
    def name(self) -> str:
        """Name of the run and of its folder."""
        return "-".join(self)


@dataclass(frozen=True)
class Selection:
    """All cells of the page, and the chosen ones among them.

    Attributes:
        models: label -> overrides of every network with a row.
        budgets: budgets with a table.
        chosen_models: networks to run.
        chosen_data: data to run.
        chosen_budgets: budgets to run.
        precision: training precision.
        typed: typed overrides of the data, by group.
        every: overrides of all runs.
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
        """Yield every cell of the page, short budgets first, so that an interrupted leaderboard has complete tables."""
        for budget in self.budgets:
            for name, source in DATA.items():
                if budget in BUDGETS and source.budgets is not None and budget not in source.budgets:
                    continue
                for model in self.models:
                    if source.models is None or model in source.models:
                        yield Cell(name, budget, model)

    def chosen(self, cell: Cell) -> bool:
        """Tell whether a cell is chosen to be run."""
        return cell.data in self.chosen_data and cell.budget in self.chosen_budgets and cell.model in self.chosen_models

    def overrides(self, data: str, model: str) -> tuple[str, ...]:
        """Return the overrides of a network on a data source, without the budget."""
        fast = (f"precision={self.precision}", "channels_last=true")
        return (*self.models[model], *self.data(data), *fast, *self.every)

    def data(self, name: str) -> tuple[str, ...]:
        """Return the overrides that choose a data source."""
        return (*DATA[name].overrides, *self.typed.get(DATA[name].group, ()))

    def test_family(self, family: str) -> tuple[str, ...]:
        """Return the overrides that choose a family of climate data for testing."""
        return ("data=climate", f"data.family={family}", *self.typed.get("climate", ()))

    def run(self, cell: Cell, plan: BudgetPlan) -> tuple[str, ...]:
        """Return the overrides of a run; early stopping is off, so that every run uses its whole budget."""
        length = (f"epochs={plan.epochs}", f"recipe.steps={plan.steps}", "patience=null")
        return (*self.overrides(cell.data, cell.model), *length)
