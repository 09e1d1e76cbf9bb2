"""Collect the scores of all runs for report.json."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.common.runs import SeededRun
from vsr.errors import UserError

SCORES = ("mse", "ssim", "psnr")
SAME = ("data", "degradation", "scale", "window", "ends", "range", "protocol")  # must be equal in all runs on the same data


def gather(placed: Sequence[SeededRun]) -> dict[str, Any]:
    """Collect scores, protocols, versions and seconds of all runs.

    Raises UserError for runs on the same data that differ in a setting of the scores.
    """
    runs: dict[str, Any] = {}
    protocols: dict[str, dict[str, Any]] = {}
    made: dict[str, Any] = {}
    for each in placed:
        results = each.results()
        protocol = {key: results["protocol"][key] for key in SAME}
        name = _data(protocol)
        if protocols.setdefault(name, protocol) != protocol:
            different = [key for key in SAME if protocol[key] != protocols[name][key]]
            raise UserError(f"{each.folder}: not comparable with the others on {name}, {', '.join(different)} differ")
        made = results["versions"] | {"cpu": results["provenance"]["hardware"]["cpu"]}
        found = runs.setdefault(each.run.name, {"command": each.run.command, "data": name, "seeds": []})
        found["seeds"].append(_scores(results) | {"process_seconds": each.seconds()})
    return {"made": made, "protocols": {name: _short(found) for name, found in protocols.items()}, "runs": runs}


def _data(protocol: dict[str, Any]) -> str:
    card = protocol["data"]
    return f"{card['name']}, {'x'.join(map(str, card['size']))}"


def _short(protocol: dict[str, Any]) -> dict[str, Any]:
    return {**protocol, "data": {key: protocol["data"][key] for key in ("name", "size", "frames")}}


def _scores(results: dict[str, Any]) -> dict[str, Any]:
    """Select first and last epoch, validation PSNR over epochs, and the rows of the test splits."""
    history = results["history"]
    own = [row for row in results["rows"] if row["method"] == results["config"]["name"]]
    rows: dict[str, dict[str, dict[str, float]]] = {}
    for row in results["rows"]:
        found = rows.setdefault(row["split"], {})
        found[row["method"]] = {key: _rounded(row[key]) for key in ("mae", *SCORES)}
        if row in own:  # the same key in every run
            found["network"] = found[row["method"]]
    return {
        "epochs": int(history[-1]["epoch"]),
        "first": _epoch(history[0]),
        "last": _epoch(history[-1]),
        "course": [round(row["val/psnr"], 3) for row in history],
        "stages": {name: [round(row["val/psnr"], 3) for row in stage["history"]] for name, stage in results["stages"].items()},
        "rows": rows,
        "parameters": own[0]["parameters"],
    }


def _epoch(row: dict[str, float]) -> dict[str, dict[str, float]]:
    return {split: {score: _rounded(row[f"{split}/{score}"]) for score in SCORES} for split in ("train", "val")}


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")
