"""Predicted distributions in an evaluation: members of ensembles, calibrated intervals, and what is said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig

from vsr.data.base import SRDataModule
from vsr.degradations.activity import ACTIVITY_SHARES, activity_of
from vsr.errors import UserError
from vsr.metrics.calibration import LEADS, Calibration, CalibrationErrors, trajectories_needed
from vsr.metrics.definitions import LEVELS
from vsr.metrics.ensemble import members_needed
from vsr.metrics.variables import table_part
from vsr.training.modules.base import SRModule

LEAST_TRAJECTORIES = 2  # of a calibration split


def member_count(asked: int | None, config: DictConfig, modules: Sequence[SRModule]) -> int:
    """Return the number of members that ensembles are scored with, 0 without ensembles.

    Args:
        asked: The key `members`; None for as many as the largest interval needs.
        config: The config of the evaluation.
        modules: The networks to score.

    Raises:
        UserError: If members are asked for and there are no ensembles, or for protocol=classical.
    """
    ensembles = [module for module in modules if module.ensemble is not None]
    if asked is not None and not ensembles:
        raise UserError(f"members={asked}: no checkpoint is an ensemble; train one with vsr train members=2, or leave it out")
    if ensembles and config.protocol == "classical":
        raise UserError("protocol=classical: rounds to 8 bits, and members differ by less; type protocol=float")
    return (asked or members_needed(LEVELS[-1])) if ensembles else 0


def activity_edges(module: SRModule, data: SRDataModule) -> list[tuple[float, float]]:
    """Return the activities that divide validation pixels into quiet ones, moderate ones and fronts, for each variable."""
    frames = module.in_unit_interval(data.validation_frames() or data.training_frames())
    edges = []
    parts = [slice(i, i + 1) for i in range(data.channels)] if module.normalizer.low.ndim else [slice(data.channels)]
    for own in parts:
        found = torch.cat([activity_of(lr[:, own].unsqueeze(2)).flatten() for lr, _, _ in frames]).numpy()
        low, high = np.quantile(found, ACTIVITY_SHARES)
        edges.append((float(low), float(high)))
    return edges


@torch.no_grad()
def calibrate(module: SRModule, members: int, data: SRDataModule, edges: Sequence[tuple[float, float]]) -> Calibration:
    """Return intervals from the errors of a network on the validation split; all processes get the same.

    Args:
        module: The network.
        members: Number of members of an ensemble, whose spread is the unit of the intervals; 0 for the output of the network.
        data: The data module.
        edges: As `activity_edges` returns it.

    Raises:
        UserError: If the validation split has too few trajectories, or none of its own.
    """
    frames = data.sets["val"]
    if data.split.by == "time":
        raise UserError(
            "calibrate=true: these movies are cut in time, so that validation frames are of the movies that were learned from; "
            "give several movies and type data.by=trajectory"
        )
    if (count := len(frames.segments)) < LEAST_TRAJECTORIES:
        raise UserError(
            f"calibrate=true: the validation split has {count} trajector{'y' if count == 1 else 'ies'}, intervals need "
            f"{LEAST_TRAJECTORIES} or more, and {trajectories_needed(90, 85)} for a guarantee of 85%; train with a "
            f"larger data.val"
        )
    leads = LEADS if module.time_plane is not None else ()
    errors = CalibrationErrors(edges, data.scale, module.window[1:], relative=members > 0, leads=leads)
    starts = np.array([start for start, _ in frames.segments])
    module.eval()
    module.members = members
    for batch in data.split_dataloader("val"):
        drawn = module.predict_members(batch) if members else None
        sr = module.predict_clip(batch) if drawn is None else drawn.mean(2)
        of = np.searchsorted(starts, batch.position.cpu().numpy(), side="right") - 1
        lr = module.normalizer(batch.own_lr[:, : batch.hr.shape[1]])
        spread = None if drawn is None else drawn.std(2)
        errors.update(sr, spread, module.normalizer(batch.hr), lr, of.tolist(), batch.mask, module.lead_of(batch))
    module.members = 0
    return errors.fit()


def uncertainty_lines(rows: Sequence[Mapping[str, Any]], single: Mapping[str, str]) -> list[str]:
    """Return a line for each predicted distribution and part of the table: CRPS, coverage of 90%, spread over error.

    Args:
        rows: The rows of the results table.
        single: Method with a distribution -> method of the single prediction that it is compared with.
    """
    crps = {(table_part(row), row["method"]): row["crps"] for row in rows if row.get("crps") is not None}
    several, lines = len({table_part(row) for row in rows}) > 1, []
    for row in rows:
        key = (table_part(row), row["method"])
        if row["method"] not in single or key not in crps:
            continue
        words = [f"CRPS {crps[key]:.3e} (a single prediction: {crps[key[0], single[row['method']]]:.3e})"]
        if row.get("coverage_90") is not None:
            words.append(f"{100 * row['coverage_90']:.0f}% of HR inside the 90% interval")
        if row.get("spread_error") is not None:
            words.append(f"spread / error {row['spread_error']:.2f}")
        lines.append(f"uncertain {row['method']}{f' on {key[0]}' if several else ''}: {', '.join(words)}")
    return lines


def guarantee_line(calibration: Calibration) -> str:
    """Return a line on what calibrated intervals promise."""
    text = f"calibrated on the {calibration.trajectories} trajectories of 'val': on one more like them, the 90% interval covers "
    text += f"{calibration.guaranteed(90):.0f}% of the pixels at least"
    needed = trajectories_needed(90, 85)
    more = f"; {needed} trajectories would make it 85% (data.val in training)"
    return text if calibration.trajectories >= needed else text + more
