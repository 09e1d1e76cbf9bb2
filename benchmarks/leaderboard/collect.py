"""Collect scores, costs and settings of all runs for leaderboard.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.leaderboard.experiments import BASELINES, DATA, Cell, presets
from benchmarks.leaderboard.score_runs import Test
from vsr.errors import UserError
from vsr.training.budget.plan import BudgetPlan

SCORES = ("psnr", "ssim", "lsd", "change_error", "flicker", "consistency")
SAME_PSNR = 1e-3  # dB
SAME = ("data", "degradation", "scale", "window", "ends", "range", "protocol")  # must be equal in all rows of a table


class CollectedResults:
    """Scores of all runs; refuses runs that are not comparable with the others on the same data."""

    def __init__(self) -> None:
        self.runs: dict[str, Any] = {}
        self.baselines: dict[str, Any] = {}
        self.protocols: dict[str, Any] = {}
        self.made: dict[str, Any] = {}
        self.dropped: list[str] = []

    def add(self, cell: Cell, seed: int, test: Test, plan: BudgetPlan) -> None:
        """Add the scores of a run on its own data. Raises UserError for files that cannot be read or compared."""
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
            "of": test.placed.folder.name,
            "commit": self.made["commit"],
            "cpu": self.made["cpu"],
            "train_seconds": round(own[-1]["train_seconds"], 1),
            "rows": {},
            "familiar": familiar(scored),
            "elsewhere": {},
        }
        for row in own:  # of several networks in a row the last one counts
            one["rows"][row["split"]] = short(row)
        found.setdefault("seeds", []).append(one)

    def add_other_family(self, cell: Cell, seed: int, test: Test) -> None:
        """Add, for a run that was added before, the PSNR of the network and of its linear filter on another family."""
        found = self.runs[cell.data][cell.budget][cell.model]["seeds"]
        one = next(each for each in found if each["seed"] == seed)
        scores = one["elsewhere"].setdefault(test.where, {})
        scored = test.results()
        for row in scored["rows"]:
            if row["method"] == "linear" or not row["baseline"]:
                name = "linear" if row["baseline"] else "network"
                scores.setdefault(row["split"], {"familiar": familiar(scored).get(row["split"])})[name] = rounded(row["psnr"])

    def add_confirmation(self, cell: Cell, seed: int, test: Test) -> None:
        """Add, for a run that was added before, the scores on trajectories that no choice has seen."""
        found = self.runs[cell.data][cell.budget][cell.model]["seeds"]
        one = next(each for each in found if each["seed"] == seed)
        rows = [row for row in test.results()["rows"] if row["split"] == "test"]
        linear = next(row["psnr"] for row in rows if row["method"] == "linear")
        one["confirmed"] = {**short(next(row for row in rows if not row["baseline"])), "linear": rounded(linear)}

    def add_earlier(self, cell: Cell, one: dict[str, Any], earlier: Mapping[str, Any]) -> None:
        """Add the result of an earlier sitting; its data must have the protocol and bicubic's PSNR of the runs added before."""
        protocol, baselines = earlier["protocols"][cell.data], earlier["baselines"][cell.data]
        here = self.baselines.setdefault(cell.data, baselines)
        same = shown_protocol(self.protocols.setdefault(cell.data, protocol)) == protocol
        # Not the checksum: another kind of CPU generates the same data with other rounding errors.
        if not same or any(
            abs(here[split]["bicubic"]["psnr"] - baselines[split]["bicubic"]["psnr"]) > SAME_PSNR for split in here
        ):
            self.dropped.append(f"{cell.name}: the result in leaderboard.json is of other data; type continue=false to repeat it")
            return
        run = earlier["runs"][cell.data][cell.budget][cell.model]
        found = self.runs.setdefault(cell.data, {}).setdefault(cell.budget, {}).setdefault(cell.model, {})
        found.setdefault("command", run["command"])
        found.setdefault("plan", run["plan"])
        found["seeds"] = sorted([*found.get("seeds", []), one], key=lambda each: int(each["seed"]))
        self.made = self.made or dict(earlier["made"])

    def _agree(self, data: str, protocol: dict[str, Any], test: Test) -> None:
        found = {key: protocol[key] for key in SAME}
        first = self.protocols.setdefault(data, found)
        if first != found:
            different = [key for key in SAME if first[key] != found[key]]
            raise UserError(
                f"{test.placed.folder}: not comparable with the others on {data}, {', '.join(different)} differ; "
                "remove the folder to run it again"
            )


def shown_protocol(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """Reduce the description of the data to name, size and frames."""
    return {**protocol, "data": {key: protocol["data"][key] for key in ("name", "size", "frames")}}


def familiar(scored: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the out-of-distribution test of each split; empty where the test is not possible."""
    found = scored["protocol"]["checkpoints"][-1].get("familiar", {})
    return {split: {name: rounded(known[name]) for name in ("coarser", "disagreement")} for split, known in found.items()}


def short(row: Mapping[str, Any]) -> dict[str, Any]:
    """Select the scores that the page shows, and the interval of the gain over linear over the trajectories of the split."""
    found: dict[str, Any] = {name: rounded(row.get(name)) for name in (*SCORES, "segments")}
    if (interval := row.get("intervals", {}).get("gain_linear")) is not None:
        found["gain_interval"] = [rounded(end) for end in interval]
    return found


def rounded(value: float | None) -> float | None:
    """Round to six digits, so that the file stays small."""
    return None if value is None else float(f"{value:.6g}")


def facts(
    collected: CollectedResults,
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
    """Build the content of leaderboard.json, which the page and the figures are drawn from.

    Args:
        collected: scores of all runs.
        costs: result of `benchmarks.leaderboard.inference_speed.costs`.
        rates: measured training speeds and the digests of their configs, by data and network.
        budgets: name and seconds; None where a plan was given.
        models: labels of the rows.
        seeds: seeds per run.
        jobs: runs at a time.
        precision: training precision.
        command: command to show on the page.
    """
    return {
        "made": collected.made,
        "command": command,
        "seeds": seeds,
        "jobs": jobs,
        "precision": precision,
        "budgets": [{"name": name, "seconds": seconds} for name, seconds in budgets],
        "models": list(models),
        "data": {name: list(source.models) if source.models is not None else None for name, source in DATA.items()},
        "presets": {name: preset._asdict() for name, preset in presets().items()},
        "costs": {**{key: costs.get(key) for key in ("frame", "threads")}, "networks": costs.get("networks", {})},
        "rates": dict(rates),
        "protocols": {name: shown_protocol(protocol) for name, protocol in collected.protocols.items()},
        "baselines": collected.baselines,
        "runs": collected.runs,
    }
