"""What the page is written from: scores, costs and settings of everything that was run, as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.leaderboard.plan import BASELINES, DATA, Cell, presets
from benchmarks.leaderboard.scores import Test
from vsr.errors import UserError
from vsr.training.budget.plan import Plan

SCORES = ("psnr", "ssim", "lsd", "change_error", "flicker", "consistency")
SAME = ("data", "degradation", "scale", "window", "ends", "range", "protocol")  # what rows of one table agree in


class Gathered:
    """Collects runs into facts; rows that were not scored alike do not get into one table."""

    def __init__(self) -> None:
        self.runs: dict[str, Any] = {}
        self.baselines: dict[str, Any] = {}
        self.protocols: dict[str, Any] = {}
        self.made: dict[str, Any] = {}

    def add(self, cell: Cell, seed: int, test: Test, plan: Plan) -> None:
        """A run on the data of its training. Raises UserError for files that cannot be read or compared."""
        scored, trained = test.results(), test.placed.results()
        self._agree(cell.data, scored["protocol"], test)
        for row in scored["rows"]:
            if row["method"] in BASELINES:
                self.baselines.setdefault(cell.data, {}).setdefault(row["split"], {})[row["method"]] = short(row)
        versions = trained["versions"]
        hardware = trained["provenance"]["hardware"]
        self.made = {name: versions[name] for name in ("vsr", "commit", "torch", "lightning")}
        self.made |= {"cpu": hardware["cpu"], "cores": hardware["cores"]}
        found = self.runs.setdefault(cell.data, {}).setdefault(cell.budget, {}).setdefault(cell.model, {})
        found |= {"command": test.placed.run.command, "plan": [plan.epochs, plan.steps]}
        own = [row for row in scored["rows"] if not row["baseline"]]
        one = {
            "seed": seed,
            "train_seconds": round(own[-1]["train_seconds"], 1),
            "rows": {},
            "familiar": familiar(scored),
            "elsewhere": {},
        }
        for row in own:  # of several networks in a row, the last
            one["rows"][row["split"]] = short(row)
        found.setdefault("seeds", []).append(one)

    def elsewhere(self, cell: Cell, seed: int, test: Test) -> None:
        """A run, added before, on another family: its PSNR and that of the linear filter of its training, by split."""
        found = self.runs[cell.data][cell.budget][cell.model]["seeds"]
        one = next(each for each in found if each["seed"] == seed)
        scores = one["elsewhere"].setdefault(test.where, {})
        scored = test.results()
        for row in scored["rows"]:
            if row["method"] == "linear" or not row["baseline"]:
                name = "linear" if row["baseline"] else "network"
                scores.setdefault(row["split"], {"familiar": familiar(scored).get(row["split"])})[name] = rounded(row["psnr"])

    def _agree(self, data: str, protocol: dict[str, Any], test: Test) -> None:
        found = {key: protocol[key] for key in SAME}
        first = self.protocols.setdefault(data, found)
        if first != found:
            different = [key for key in SAME if first[key] != found[key]]
            raise UserError(
                f"{test.placed.folder}: not comparable with the others on {data}, {', '.join(different)} differ; "
                "remove the folder to run it again"
            )


def familiar(scored: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """By split, what LR alone tells of whether the network knows such movies; nothing where it does not tell."""
    found = scored["protocol"]["checkpoints"][-1].get("familiar", {})
    return {
        split: {"coarser": rounded(known["coarser"]), "disagreement": rounded(known["disagreement"]), "strange": known["strange"]}
        for split, known in found.items()
    }


def short(row: Mapping[str, Any]) -> dict[str, float | None]:
    """The scores that the page shows."""
    return {name: rounded(row.get(name)) for name in SCORES}


def rounded(value: float | None) -> float | None:
    """To what can be seen, so that the file stays small."""
    return None if value is None else float(f"{value:.6g}")


def facts(
    gathered: Gathered,
    costs: Mapping[str, Any],
    rates: Mapping[str, Any],
    *,
    budgets: Sequence[tuple[str, float | None]],
    models: Sequence[str],
    seeds: int,
    jobs: int,
    precision: str,
    command: str,
) -> dict[str, Any]:
    """All that `benchmarks.leaderboard.page.render` and the figures need.

    Args:
        costs: as `benchmarks.leaderboard.speed.costs` gives them. rates: of training, by kind of data and network.
        budgets: name and seconds, None where steps were given. models: the rows.
    """
    data = {
        name: {**protocol, "data": {key: protocol["data"][key] for key in ("name", "size", "frames")}}
        for name, protocol in gathered.protocols.items()
    }
    networks = {
        label: {key: value for key, value in found.items() if key != "of"} for label, found in costs.get("networks", {}).items()
    }
    return {
        "made": gathered.made,
        "command": command,
        "seeds": seeds,
        "jobs": jobs,
        "precision": precision,
        "budgets": [{"name": name, "seconds": seconds} for name, seconds in budgets],
        "models": list(models),
        "data": {name: list(source.models) if source.models is not None else None for name, source in DATA.items()},
        "presets": {name: preset._asdict() for name, preset in presets().items()},
        "costs": {**{key: costs.get(key) for key in ("frame", "threads")}, "networks": networks},
        "rates": dict(rates),
        "protocols": data,
        "baselines": gathered.baselines,
        "runs": gathered.runs,
    }
