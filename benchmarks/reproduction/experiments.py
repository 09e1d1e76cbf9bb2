"""The runs behind the report's tables and claims; conf/experiment defines each one."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.common.runs import Run

STOPS = (2, 10, 35)  # epochs (of 75) after which the first network stops, for the curve over interim quality
KERNELS = (2, 8)  # kernel sizes of the deconvolution


def report_runs(climate: Sequence[str], movies: Sequence[str], precision: str, every: Sequence[str] = ()) -> list[Run]:
    """Return all runs, in an order in which each run follows the runs that it needs.

    Args:
        climate: overrides of the climate data (`data.path=FILE`, ...); empty for the generated tide.
        movies: overrides of the movies of Table 4, empty for the synthetic camera.
        precision: training precision.
        every: overrides of all runs.
    """
    fast = (f"precision={precision}", *every)

    def on_climate(name: str, *overrides: str, seeds: int | None = None) -> Run:
        return Run(name, (*overrides, *climate, *fast), seeds)

    def generated(name: str, *overrides: str) -> Run:
        return Run(name, (*overrides, *fast))

    first = ("init@init.first=checkpoint", "init.first.modules=null", "init.epochs=0")
    runs = [
        on_climate("table2", "experiment=table2"),
        on_climate("table3", "experiment=table3"),
        on_climate("table3_clips", "experiment=table3", "model.windows=false"),
        on_climate("table1", "experiment=table1"),
        on_climate("table6", "experiment=table6", *first, "init.first.path=<table2>"),
        on_climate("table5", "experiment=table5", *first, "init.first.path=<table1>"),
        on_climate("two_in_one", "experiment=two_in_one", "init.path=<table6>"),
        on_climate("three_then_two", "experiment=three_then_two", *first, "init.first.path=<table3>"),
        on_climate("table7", "experiment=table7", "init.first.path=<table2>", "init.second.path=<table3>"),
        Run("table4", ("experiment=table4", *movies, *fast)),
        on_climate("as_reported_3d", "experiment=as_reported_3d"),
    ]
    runs += [on_climate(f"interim_{stop}", "experiment=interim", f"init.stop_epoch={stop}", seeds=1) for stop in STOPS]
    runs += [on_climate(f"deconvolution_{side}", "experiment=deconvolution", f"model.kernel={side}") for side in KERNELS]
    runs += [on_climate(f"srcnn_{kind}", f"experiment=srcnn_{kind}") for kind in ("deeper", "prelu", "relu")]
    like_table1 = ("epochs=100", "patience=null", "recipe.steps=50", "init=pretrained", "init.modules=[features]")
    runs += [
        generated("other_equations", "experiment=other_equations", *like_table1),
        generated("ceiling", "experiment=ceiling"),
        on_climate("as_reported", "experiment=as_reported"),
    ]
    # Every run has rows for the baselines on test frames; these runs add them on training and validation frames.
    for name in ("bicubic", "linear"):
        runs.append(on_climate(name, f"model={name}", seeds=1))
        runs.append(Run(f"movies_{name}", ("experiment=table4", f"model={name}", *movies, *fast), 1))
    return runs
