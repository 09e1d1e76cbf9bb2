"""Report files with numbers: scores of frames and segments in CSV, and results.json with the formula of each mean."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from vsr.evaluation.lead_time import LEAD_TIME, lead_time_findings
from vsr.evaluation.rows import Row, row_score_names
from vsr.evaluation.scored import MethodScores, group_scores_by_part
from vsr.metrics.definitions import DEFINITIONS
from vsr.metrics.intervals import LEVEL, MIN_SEGMENTS

FRAMES, SEGMENTS, LEAD_TIMES = "frames.csv", "segments.csv", "lead_time.csv"

DESCRIBED = ("label", "unit", "better", "group", "text", "source", "per")  # fields of a `Definition`
ROWS = "of the rows with this split and method"
HOW = {
    "mean": f"nanmean {ROWS}",
    "gain": f"nanmean of (column - the reference's column), {ROWS}, frame by frame",
    "skill": f"1 - sum(column) / sum(the reference's column), {ROWS}, over frames where both have a value",
    "frames": f"number {ROWS} that have any score",
    "segments": f"number of different values in column, {ROWS} that have any score",
}


def frames_csv(scored: Sequence[MethodScores]) -> str:
    """Format frames.csv: a line per method and frame, with split, segment and scores in full precision; "" for no value."""
    names = [name for name in row_score_names(scored) if DEFINITIONS[name].per == "frame"]
    several = _variable_head(scored)
    lines = (
        [
            one.split,
            *_variable_cell(one, several),
            one.method,
            int(segment),
            frame,
            *(_cell(one.frames, name, frame) for name in names),
        ]
        for one in scored
        for frame, segment in enumerate(one.segment_of)
    )
    return format_csv(["split", *several, "method", "segment", "frame", *names], lines)


def segments_csv(scored: Sequence[MethodScores]) -> str:
    """Format segments.csv: a line per method and segment, with split, number of frames and scores; "" for no value."""
    names = [name for name in row_score_names(scored) if DEFINITIONS[name].per == "segment"]
    several = _variable_head(scored)
    lines = (
        [
            one.split,
            *_variable_cell(one, several),
            one.method,
            int(segment),
            int(count),
            *(_cell(one.segments, name, at) for name in names),
        ]
        for one in scored
        for at, (segment, count) in enumerate(zip(*np.unique(one.segment_of, return_counts=True), strict=True))
    )
    return format_csv(["split", *several, "method", "segment", "frames", *names], lines)


def lead_times_csv(scored: Sequence[MethodScores]) -> str:
    """Format lead_time.csv: a line per method and lead time, with the means over trajectories and their intervals.

    "" if no method has a curve over lead time; a cell is "" where there is no value.
    """
    curves = [(one, one.curves[LEAD_TIME]) for one in scored if LEAD_TIME in one.curves]
    names = list(dict.fromkeys(name for _, curve in curves for name in curve if name not in ("time", "trajectories")))
    several = _variable_head(scored)
    lines = (
        [
            *(one.split, *_variable_cell(one, several), one.method, repr(float(time)), one.lead_unit),
            *(int(curve["trajectories"][at]), *(_cell(curve, name, at) for name in names)),
        ]
        for one, curve in curves
        for at, time in enumerate(curve["time"])
    )
    return format_csv(["split", *several, "method", "time", "time_unit", "trajectories", *names], lines) if curves else ""


def _variable_head(scored: Sequence[MethodScores]) -> list[str]:
    """Return the heading of the column of variables; [] for data of one variable."""
    return ["variable"] if any(one.keys for one in scored) else []


def _variable_cell(one: MethodScores, head: Sequence[str]) -> list[str]:
    return [one.keys.get(name, "") for name in head]


def results_json(scored: Sequence[MethodScores], protocol: Mapping[str, Any], rows: Sequence[Row]) -> dict[str, Any]:
    """Build the content of results.json as plain values without NaN.

    Returns:
        A dictionary. "protocol" and "rows" are the arguments. "recipes" gives the CSV file, column and formula from which each
        score, gain, skill and count of a row follows. "intervals" tells how intervals were computed. "definitions" defines the
        scores. "curves" has the spectra of each method on each split, and the scores over lead time where it is known;
        "lead_time" says where skill ends (`vsr.evaluation.lead_time.lead_time_findings`).
    """
    names = row_score_names(scored)
    return {
        "protocol": to_jsonable(protocol),
        "rows": to_jsonable(rows),
        "recipes": _recipes(rows, names),
        "intervals": {
            "level": LEVEL,
            "how": "Student's t over segments, corrected for skewness (Hall 1992); gains and skills pair both methods; none "
            f"below {MIN_SEGMENTS} segments",
        },
        "definitions": {name: {key: getattr(DEFINITIONS[name], key) for key in DESCRIBED} for name in names},
        "curves": [
            {"split": one.split, **one.keys, "method": one.method, "curve": curve, "columns": to_jsonable(columns)}
            for methods in group_scores_by_part(scored).values()
            for one in methods.values()
            for curve, columns in one.curves.items()
        ],
        "lead_time": to_jsonable(lead_time_findings(scored)),
    }


def to_jsonable(value: Any) -> Any:
    """Convert a value to plain JSON values: arrays to lists, NaN and infinity to None, paths and other objects to text."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): to_jsonable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [to_jsonable(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | bool | int) else str(value)


def _recipes(rows: Sequence[Row], names: Sequence[str]) -> dict[str, dict[str, str]]:
    found = {
        key: {"file": FRAMES, "column": column, "how": HOW[key]} for key, column in (("frames", "frame"), ("segments", "segment"))
    }
    for name in names:
        found[name] = {"file": SEGMENTS if DEFINITIONS[name].per == "segment" else FRAMES, "column": name, "how": HOW["mean"]}
    for key in dict.fromkeys(key for row in rows for key in row):
        kind, _, reference = key.partition("_")
        if kind in ("gain", "skill"):
            found[key] = {"file": FRAMES, "column": "psnr" if kind == "gain" else "mse", "how": HOW[kind], "reference": reference}
    if any("variable" in row for row in rows):
        for recipe in found.values():
            recipe["how"] = recipe["how"].replace(ROWS, ROWS.replace("split", "split, variable"))
    return found


def _cell(columns: Mapping[str, np.ndarray], name: str, at: int) -> str:
    value = float(columns[name][at]) if name in columns else math.nan
    return "" if math.isnan(value) else repr(value)


def format_csv(header: Sequence[str], lines: Iterable[Sequence[Any]]) -> str:
    """Format a header and lines of cells as CSV text."""
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows([header, *lines])
    return file.getvalue()
