"""Scores of data with several variables: one part of a table for each, in its own range, and one for all together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vsr.metrics.definitions import psnr_from_mse

ALL_VARIABLES = "all variables"


def variable_keys(card: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the keys "variable" and "unit" of a results row, for each variable; one empty dictionary for one variable.

    Args:
        card: The description of the data, with "units" and, for several variables, "variables".
    """
    names, units = card.get("variables", []), card.get("units")
    each = units if isinstance(units, list) else [units] * len(names)
    return [{"variable": name, "unit": str(unit or "")} for name, unit in zip(names, each, strict=True)] or [{}]


def table_part(row: Mapping[str, Any]) -> str:
    """Return the name of the part of a table that a results row belongs to: "test", or "test: t (K)" with several variables."""
    unit = f" ({row['unit']})" if row.get("unit", "1") not in ("", "1") else ""
    return f"{row['split']}: {row['variable']}{unit}" if row.get("variable") else str(row["split"])


def is_overall(row: Mapping[str, Any]) -> bool:
    """Return True for a results row of one variable, or of all variables together."""
    return row.get("variable", ALL_VARIABLES) == ALL_VARIABLES


def scores_over_variables(columns: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the headline scores of all variables together.

    A mean of PSNR over different ranges would tell nothing. The PSNR is that of the mean over variables of the MSE, each in its
    own range. The coherence at the LR Nyquist wavenumber, where it is known, is the mean of the variables.

    Args:
        columns: The scores of each variable, for each frame.

    Returns:
        Score -> one value per frame.
    """
    names = [name for name in ("mae", "mse", "ssim", "nyquist_coherence") if all(name in each for each in columns)]
    mean = {name: sum(each[name] for each in columns) / len(columns) for name in names}
    return {"mae": mean["mae"], "mse": mean["mse"], "psnr": psnr_from_mse(mean["mse"])} | mean
