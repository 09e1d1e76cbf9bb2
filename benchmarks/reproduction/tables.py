"""The report's tables with our scores beside them."""

from __future__ import annotations

from typing import Any

from benchmarks.common.markdown import gain, half_range, mean, spread, table
from benchmarks.reproduction.report_values import CHAINS, INPUT, TRAINED, Scores

TITLES = {
    "table1": "Table 1: the 2D network, 100 epochs",
    "table2": "Table 2: the 2D network, 150 epochs",
    "table3": "Table 3: the 3D network on raw climate data",
    "table4": "Table 4: the 3D network on real movies of 64x64 pixels",
    "table5": "Table 5: the 3D network behind the network of Table 1, patience 5",
    "table6": "Table 6: the 3D network behind the network of Table 2, patience 5",
    "table7": "Table 7: the networks of Tables 2 and 3 in a row",
    "table8": "Table 8: the networks of Tables 2 and 6 in a row",
}
NETWORKS = {
    "bicubic": "`bicubic`",
    "linear": "`linear`",
    "table2": "`fsrcnn`",
    "as_reported": "`fsrcnn`, trained as reported",
    "table3": "`srnet3d`, as in the report",
    "table3_clips": "`srnet3d`, `windows=false`",
    "table6": "`two_stage` (2D, then 3D)",
    "two_in_one": "`joint` (both in one)",
    "three_then_two": "`movie_then_frame` (3D, then 2D)",
}
CODES = 255.0**2  # Table 4 has MSE in code values, report.json in units of the data range
SCORES = ("mse", "ssim", "psnr")
FORMS = {"mse": ".3e", "ssim": ".4f", "psnr": ".2f"}


class ReportResults:
    """Read access to report.json: lists with one number per seed."""

    def __init__(self, content: dict[str, Any]) -> None:
        self.content = content
        self.runs: dict[str, Any] = content["runs"]

    def epoch(self, run: str, which: str, split: str, score: str) -> list[float]:
        """Return a score on the frames of training or validation, before training ("first") or at the end ("last")."""
        return [seed[which][split][score] for seed in self.runs[run]["seeds"]]

    def row(self, run: str, split: str, score: str = "psnr", method: str = "network") -> list[float]:
        """Return a score on a test split."""
        return [seed["rows"][split][method][score] for seed in self.runs[run]["seeds"]]

    def splits(self, run: str) -> list[str]:
        """Return the test splits."""
        return list(self.runs[run]["seeds"][0]["rows"])

    def farthest(self, run: str) -> str:
        """Return the test split least similar to the training data, the last one."""
        return self.splits(run)[-1]

    def epochs(self, run: str) -> str:
        """Return the number of epochs as text; several numbers if seeds stopped at different epochs."""
        found = sorted({seed["epochs"] for seed in self.runs[run]["seeds"]})
        return "/".join(map(str, found))

    def seconds(self, run: str) -> list[float]:
        """Return the seconds of each process from start to end."""
        return [seed["process_seconds"] for seed in self.runs[run]["seeds"]]


def baselines(name: str) -> dict[str, str]:
    """Return the run of each baseline on the frames of a table."""
    return {method: f"movies_{method}" if name == "table4" else method for method in ("bicubic", "linear")}


def trained(facts: ReportResults, name: str) -> str:
    """Render Tables 1 to 6: scores before and after training, as in the report, and a table of test frames."""
    unit = CODES if name == "table4" else 1.0
    rows = [_reported(epoch, scores.train, scores.val) for epoch, scores in TRAINED[name].items()]
    for method, run in baselines(name).items():
        rows.append([method, *_ours(facts, run, "first", unit)])
    controls = {"table2": "as_reported", "table3": "as_reported_3d"}
    rows.append(["ours, epoch 0", *_ours(facts, name, "first", unit)])
    rows.append([f"**ours, epoch {facts.epochs(name)}**", *_ours(facts, name, "last", unit)])
    if name in controls and controls[name] in facts.runs:
        rows.append([f"trained as reported, epoch {facts.epochs(controls[name])}", *_ours(facts, controls[name], "last", unit)])
    header = ["", *(f"{split} {score.upper()}" for split in ("train", "val") for score in SCORES)]
    return "\n\n".join([table(header, rows), _held_out(facts, name, controls.get(name)), _seconds(facts, name)])


def _reported(epoch: int, *splits: Scores) -> list[str]:
    cells = [f"{three.mse:.4g}" if three.mse > 1 else f"{three.mse:.3e}" for three in splits]
    rest = [[f"{three.ssim:.4f}", f"{three.psnr:.2f}"] for three in splits]
    return [f"report, epoch {epoch}", cells[0], *rest[0], cells[1], *rest[1]]


def _ours(facts: ReportResults, run: str, which: str, unit: float) -> list[str]:
    cells = []
    for split in ("train", "val"):
        for score in SCORES:
            values = facts.epoch(run, which, split, score)
            if score == "mse" and unit != 1:
                cells.append(spread([value * unit for value in values], ".1f"))
            else:
                cells.append(spread(values, FORMS[score]))
    return cells


def _held_out(facts: ReportResults, name: str, control: str | None) -> str:
    """Render the scores on test frames, which the report does not have."""
    rows = []
    for split in facts.splits(name):
        base = {method: facts.row(name, split, method=method) for method in ("bicubic", "linear")}
        found = facts.row(name, split)
        cells = [split, spread(base["bicubic"][:1]), spread(base["linear"][:1]), spread(found)]
        cells += [gain(found, base["bicubic"]), gain(found, base["linear"])]
        if control is not None:
            cells.append(spread(facts.row(control, split)) if control in facts.runs else "")
        rows.append(cells)
    header = ["PSNR on test frames", "bicubic", "linear", "ours", "over bicubic", "over linear"]
    return table([*header, "trained as reported"] if control is not None else header, rows)


def _seconds(facts: ReportResults, name: str) -> str:
    command = facts.runs[name]["command"]
    return f"`{command}`, {mean(facts.seconds(name)):.0f} s per seed for the whole process."


def chained(facts: ReportResults, name: str) -> str:
    """Render Tables 7 and 8: scores between the networks and behind them."""
    run = "table6" if name == "table8" else name
    names = {"2D network": "2D network", "after repacking": "after repacking", "network": "3D network"}
    rows = []
    for key, label in names.items():
        three = CHAINS[name][key]
        rows.append([f"report, {label}", "", f"{three.mse:.3e}", f"{three.ssim:.4f}", f"{three.psnr:.2f}"])
    for split in facts.splits(run):
        for key in ("bicubic", "linear", *names):
            cells = [spread(facts.row(run, split, score, key), FORMS[score]) for score in SCORES]
            rows.append([f"**ours, {names[key]}**" if key == "network" else names.get(key, key), split, *cells])
    return "\n\n".join([table(["", "frames", "MSE", "SSIM", "PSNR"], rows), _seconds(facts, run)])


def summary(facts: ReportResults) -> str:
    """Render one line per table with gains only: the report's frames are not ours, so that PSNR cannot be compared."""
    names = (*TRAINED, "table7", "table8")
    rows = [[name.removeprefix("table"), TITLES[name].partition(": ")[2], *_summed(facts, name)] for name in names]
    return table(["Table", "what", "gain over", "report: gain", "ours: gain", "ours: over linear", "our gain is"], rows)


def _summed(facts: ReportResults, name: str) -> list[str]:
    over = "bicubic"
    if name in CHAINS:
        run = "table6" if name == "table8" else name
        split = facts.farthest(run)
        found, given = facts.row(run, split), facts.row(run, split, method="after repacking")
        theirs: float | None = CHAINS[name]["network"].psnr - CHAINS[name]["after repacking"].psnr
        linear = facts.row(run, split, method="linear")
        over = "first network"
    else:
        found, given = facts.epoch(name, "last", "val", "psnr"), facts.epoch(name, "first", "val", "psnr")
        theirs = list(TRAINED[name].values())[-1].val.psnr - INPUT[name] if name in INPUT else None
        linear = facts.epoch(baselines(name)["linear"], "first", "val", "psnr")
        if name in ("table5", "table6"):
            over = "first network"
        else:
            given = facts.epoch(baselines(name)["bicubic"], "first", "val", "psnr")
    ours = [a - b for a, b in zip(found, given * len(found) if len(given) == 1 else given, strict=True)]
    if theirs is None:
        verdict = "-"
    elif abs(mean(ours) - theirs) <= half_range(ours):
        verdict = "level"
    else:
        verdict = "higher" if mean(ours) > theirs else "lower"
    return [over, "not given" if theirs is None else f"{theirs:+.2f}", gain(found, given), gain(found, linear), verdict]


def network_table(facts: ReportResults) -> str:
    """Render one row per network: PSNR and gain on each test split, parameters and seconds."""
    splits = facts.splits("table2")
    rows = []
    for run, label in NETWORKS.items():
        if run not in facts.runs:
            continue
        cells = [label, str(facts.runs[run]["seeds"][0]["parameters"])]
        for split in splits:
            found = facts.row(run, split)
            cells += [spread(found), gain(found, facts.row(run, split, method="linear")).partition(" ±")[0]]
        seconds = "" if run in ("bicubic", "linear") else f"{mean(facts.seconds(run)):.0f}"
        rows.append([*cells, seconds])
    header = ["model", "parameters", *(text for split in splits for text in (f"{split} PSNR", "over `linear`")), "seconds"]
    return table(header, rows)
