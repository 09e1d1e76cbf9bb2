"""Scores over lead time: the time since the start of a trajectory, along which LR and HR of pairs part ways."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from vsr.evaluation.rows import skill_of_frames
from vsr.evaluation.scored import MethodScores, group_scores_by_part
from vsr.metrics.definitions import DEFINITIONS, RESOLVED
from vsr.metrics.intervals import REFERENCES, Interval, SegmentIntervals
from vsr.metrics.variables import table_part

CALIBRATED = ", calibrated"  # the end of the name of a method with calibrated intervals
SPANS_SHOWN = 2  # of lead times, in a sentence
HOURS = 2  # from which on times in seconds are told in hours
LEAD_TIME = "lead_time"  # the curve
SAME_TIME = 1e-3  # of a step of time: trajectories whose times differ by less share a lead time


def add_lead_time_curves(scored: Sequence[MethodScores]) -> list[MethodScores]:
    """Add the curve "lead_time" to the scores of methods whose frames have lead times.

    The columns of the curve are "time", in `lead_unit`; "trajectories", the number of trajectories that have a frame of this
    time; and, for every score per frame and for `skill_bicubic` and `skill_linear`, the mean over these trajectories, and the
    ends NAME_low and NAME_high of its 95% interval over them (see `SegmentIntervals`); NaN for a missing value.
    """
    found = []
    for methods in group_scores_by_part(scored).values():
        references = {name: methods[name] for name in REFERENCES if name in methods}
        for one in methods.values():
            curves = {} if one.lead is None else {LEAD_TIME: _curve(one, references)}
            found.append(replace(one, curves=one.curves | curves))
    return found


def _curve(one: MethodScores, references: Mapping[str, MethodScores]) -> dict[str, np.ndarray]:
    assert one.lead is not None
    frames = frames_of_times(one.lead)
    over = [SegmentIntervals(one.segment_of[at]) for at in frames]
    found = {
        "time": np.array([np.median(one.lead[at]) for at in frames]),
        "trajectories": np.array([len(np.unique(one.segment_of[at])) for at in frames]),
    }

    def add(name: str, values: list[float], intervals: list[Interval | None]) -> None:
        ends = np.array([interval or (np.nan, np.nan) for interval in intervals])
        found[name], found[f"{name}_low"], found[f"{name}_high"] = np.array(values), ends[:, 0], ends[:, 1]

    for name in (name for name in DEFINITIONS if name in one.frames):
        columns = [one.frames[name][at] for at in frames]
        add(name, list(map(_mean, columns)), [each.mean(column) for each, column in zip(over, columns, strict=True)])
    for name, other in references.items():
        if other is not one:
            pairs = [(one.frames["mse"][at], other.frames["mse"][at]) for at in frames]
            skills = [each.skill(*pair) for each, pair in zip(over, pairs, strict=True)]
            add(f"skill_{name}", [skill_of_frames(*pair) for pair in pairs], skills)
    return found


def frames_of_times(lead: np.ndarray) -> list[np.ndarray]:
    """Return, for each lead time in rising order, the indices of the frames that have it, given that of each frame (N,)."""
    order, steps = np.argsort(lead, kind="stable"), np.diff(lead)
    step = np.median(steps[steps > 0]) if (steps > 0).any() else 1.0  # falls where a trajectory begins
    return np.split(order, np.flatnonzero(np.diff(lead[order]) > SAME_TIME * step) + 1)


def _mean(values: np.ndarray) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else np.nan


def lead_time_findings(scored: Sequence[MethodScores]) -> list[dict[str, Any]]:
    """Return where skill ends, for each method with a curve over lead time.

    Returns:
        Dictionaries with "split", for several variables "variable" and "unit", "method", "baseline"; "time_unit", "first" and
        "last", the lead times of the curve; "skill_ends", the first lead time at which the mean coherence with HR at the LR
        Nyquist wavenumber is below 0.5; "loses_to_bicubic", the first lead time at which the mean squared error is not below that
        of bicubic; and "beats_bicubic", the spans [first, last] of lead times at which it is. The first two are None if there is
        no such lead time; a key is absent if its scores are missing.
    """
    found = []
    for methods in group_scores_by_part(scored).values():
        bicubic = methods["bicubic"].curves.get(LEAD_TIME) if "bicubic" in methods else None
        for one in methods.values():
            if (curve := one.curves.get(LEAD_TIME)) is None:
                continue
            time = curve["time"]
            own: dict[str, Any] = {"split": one.split, **one.keys, "method": one.method, "baseline": one.baseline}
            own |= {"time_unit": one.lead_unit, "first": float(time[0]), "last": float(time[-1])}
            if "nyquist_coherence" in curve and np.isfinite(curve["nyquist_coherence"]).any():
                own["skill_ends"] = _first(time, curve["nyquist_coherence"] < RESOLVED)
            if bicubic is not None and curve is not bicubic:
                own["loses_to_bicubic"] = _first(time, curve["mse"] >= bicubic["mse"])
                own["beats_bicubic"] = _spans(time, curve["mse"] < bicubic["mse"])
            found.append(own)
    return found


def _first(time: np.ndarray, is_so: np.ndarray) -> float | None:
    return float(time[is_so.argmax()]) if is_so.any() else None


def _spans(time: np.ndarray, is_so: np.ndarray) -> list[list[float]]:
    """Return the first and the last time of each run of times at which something is so."""
    ends = np.flatnonzero(np.diff(np.concatenate([[False], is_so, [False]]).astype(int)))
    return [[float(time[a]), float(time[b - 1])] for a, b in ends.reshape(-1, 2)]


def lead_time_sentences(findings: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return what `lead_time_findings` says of each network, in a sentence, by part of the table."""
    found: dict[str, list[str]] = {}
    for one in findings:
        if one["baseline"]:
            continue
        part, words = table_part(one), []
        if "skill_ends" in one:
            own = [other for other in findings if table_part(other) == part and other["method"] == "bicubic"]
            rivals = [f" (bicubic: {_end(other)})" for other in own if "skill_ends" in other]
            words.append(f"the coherence with HR at the LR Nyquist wavenumber {_end(one)}{''.join(rivals)}")
        if "beats_bicubic" in one:
            words.append(_where_better(one))
        # A method with calibrated intervals has the predictions, and so the sentence, of the method itself.
        methods = {other["method"] for other in findings if table_part(other) == part}
        repeated = one["method"].endswith(CALIBRATED) and one["method"].removesuffix(CALIBRATED) in methods
        if words and not repeated:
            found.setdefault(part, []).append(f"{one['method']}: {'; '.join(words)}")
    return found


def _where_better(finding: Mapping[str, Any]) -> str:
    """Say at which lead times a network is better than bicubic."""
    spans, unit = finding["beats_bicubic"], finding["time_unit"]
    if not spans:
        return "it is better than bicubic at no lead time"
    if finding["loses_to_bicubic"] is None:
        return "it is better than bicubic at every lead time"
    told = [f"from {_time(first, unit)} to {_time(last, unit)}" for first, last in spans]
    if len(told) > SPANS_SHOWN:
        told = [f"in {len(told)} spans from {_time(spans[0][0], unit)} to {_time(spans[-1][1], unit)}"]
    end = " (the last lead time)" if spans[-1][1] == finding["last"] else ""
    return f"it is better than bicubic {' and '.join(told)}{end}"


def _end(finding: Mapping[str, Any]) -> str:
    at, unit = finding["skill_ends"], finding["time_unit"]
    if at is None:
        return f"is {RESOLVED} or more up to the last lead time, {_time(finding['last'], unit)}"
    return f"is below {RESOLVED} at {_time(at, unit)} for the first time"


def _time(value: float, unit: str) -> str:
    if unit in ("s", "seconds") and value >= HOURS * 3600:
        value, unit = float(f"{value / 3600:.3g}"), "h"
    return f"frame {value:.6g}" if unit == "frames" else f"{value:.6g}{f' {unit}' if unit not in ('', '1') else ''}"
