"""Rows of a results table: mean scores of each method on each split, gains over references, confidence intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from vsr.evaluation.scored import MethodScores, group_scores_by_part
from vsr.metrics.definitions import DEFINITIONS
from vsr.metrics.intervals import LEVEL, MIN_SEGMENTS, REFERENCES, Interval, SegmentIntervals
from vsr.system.escape import escape_name

Row = dict[str, Any]
MOST_PAIRS = 5  # sentences on pairs of methods for each part of a table


def row_score_names(scored: Sequence[MethodScores]) -> list[str]:
    """Return the names of all scores that any method has, in the order of `vsr.metrics.definitions.DEFINITIONS`.

    Raises:
        ValueError: If a score has no definition.
    """
    names = {name for one in scored for name in (*one.frames, *one.segments)}
    if unknown := sorted(names - set(DEFINITIONS)):
        raise ValueError(f"scores without a definition: {', '.join(unknown)}")
    return [name for name in DEFINITIONS if name in names]


def build_rows(scored: Sequence[MethodScores]) -> list[Row]:
    """Build one row of the results table per split and method, and per variable if there are several.

    Returns:
        Rows of plain numbers, grouped by split; a missing value is None. The keys of a row are "split", "method" and
        "baseline"; with several variables, "variable" and "unit"; "frames" and "segments", the numbers of frames and segments
        that have a score; the name of every score, with its mean; `gain_X`, the mean PSNR minus that of the reference X
        (bicubic or linear) in dB; `skill_X`, 1 - MSE / MSE of X; "parameters"; "train_seconds"; and "intervals", the 95%
        interval [low, high] of each key with enough segments. Gains and skills use the frames for which both methods have a
        value.

    Raises:
        ValueError: If a score has no definition, or if the methods of a split cannot be compared (see `group_scores_by_part`).
    """
    names = row_score_names(scored)
    rows = []
    for methods in group_scores_by_part(scored).values():
        over = SegmentIntervals(next(iter(methods.values())).segment_of)
        rows += [_row(one, names, {name: methods.get(name) for name in REFERENCES}, over) for one in methods.values()]
    return rows


def _row(one: MethodScores, names: list[str], references: dict[str, MethodScores | None], over: SegmentIntervals) -> Row:
    there = _has_scores(one)
    row: Row = {"split": one.split, **one.keys, "method": one.method, "baseline": one.baseline, "frames": int(there.sum())}
    row["segments"] = len(np.unique(one.segment_of[there]))
    intervals: dict[str, Interval | None] = {}
    for name in names:
        row[name] = _number(one.mean(name))
        column = one.frames.get(name, one.segments.get(name))
        intervals[name] = None if column is None else over.mean(column)
    for name, other in references.items():
        row[f"gain_{name}"] = row[f"skill_{name}"] = None
        if other is None:
            continue
        own = other is one  # the interval of a method against itself would be [0, 0]
        if "psnr" in one.frames.keys() & other.frames.keys():
            psnr = one.frames["psnr"] - other.frames["psnr"]
            row[f"gain_{name}"] = _number(np.nanmean(psnr)) if np.isfinite(psnr).any() else None
            intervals[f"gain_{name}"] = None if own else over.mean(psnr)
        if "mse" in one.frames.keys() & other.frames.keys():
            mse, its = one.frames["mse"], other.frames["mse"]
            row[f"skill_{name}"] = _number(skill_of_frames(mse, its))
            intervals[f"skill_{name}"] = None if own else over.skill(mse, its)
    row["intervals"] = {name: list(found) for name, found in intervals.items() if found is not None and row[name] is not None}
    return row | {"parameters": int(one.parameters), "train_seconds": _number(one.train_seconds)}


def pair_sentences(scored: Sequence[MethodScores]) -> list[str]:
    """Say by how much the best network beats each other one, frame by frame, on every part of the table.

    Where too few movies give no interval, networks are compared with the linear filter in the same way.

    Raises:
        ValueError: If the methods of a split cannot be compared (see `group_scores_by_part`).
    """
    found = []
    for part, methods in group_scores_by_part(scored).items():
        networks = [one for one in methods.values() if not one.baseline and math.isfinite(one.mean("psnr"))]
        # Rows such as "NAME, 39 members" and "NAME, calibrated" are the network NAME.
        networks = [one for one in networks if not any(one.method.startswith(f"{other.method}, ") for other in networks)]
        networks.sort(key=lambda one: -one.mean("psnr"))
        pairs = [(networks[0], other) for other in networks[1:]]
        linear = methods.get("linear")
        if linear is not None and len(np.unique(linear.segment_of)) < MIN_SEGMENTS:
            pairs += [(network, linear) for network in networks]
        found += [_pair_sentence(*pair, part) for pair in pairs[:MOST_PAIRS]]
    return [text for text in dict.fromkeys(found) if text]


def _pair_sentence(one: MethodScores, other: MethodScores, part: str) -> str:
    """Compare the PSNR of two methods on the same frames in words; "" if no frame differs."""
    gains = one.frames["psnr"] - other.frames["psnr"]
    finite = gains[np.isfinite(gains)]
    if not finite.any():  # of model=linear against the row linear
        return ""
    names = [escape_name(each.method) for each in (one, other)]
    gain = f"{abs(finite.mean()):.1f} dB {'above' if finite.mean() >= 0 else 'below'}"
    won = f"better on {(finite > 0).sum()} of {len(finite)} frames ({finite.min():+.1f} to {finite.max():+.1f} dB)"
    text = f"{names[0]} is {gain} {names[1]} on {escape_name(part)}, and {won}"
    if (interval := SegmentIntervals(one.segment_of).mean(gains)) is None:
        return text
    return f"{text}; {LEVEL:.0%} interval over the movies: {interval[0]:+.1f} to {interval[1]:+.1f} dB"


def _has_scores(one: MethodScores) -> np.ndarray:
    """Return the mask of the frames that have any score, (N,) bool."""
    found = np.zeros(len(one.segment_of), bool)
    for column in one.frames.values():
        found |= ~np.isnan(column)
    return found


def skill_of_frames(mse: np.ndarray, reference: np.ndarray) -> float:
    """Return 1 - sum(mse) / sum(reference) over the frames where both are finite; both are (N,). NaN without such frames."""
    both = np.isfinite(mse) & np.isfinite(reference)
    below = reference[both].sum()
    return float(1 - mse[both].sum() / below) if below > 0 else math.nan


def _number(value: float) -> float | None:
    """Return the value, or None for NaN and infinity, which JSON lacks."""
    return float(value) if math.isfinite(value) else None
