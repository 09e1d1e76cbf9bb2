"""Figures of predicted distributions: panels of what was measured, and no others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.evaluation.synthetic import scored
from vsr.evaluation.report.uncertainty import distribution_figures
from vsr.geometry import SQUARE
from vsr.metrics.definitions import ACTIVITIES, LEVELS


@pytest.mark.parametrize("members", [False, True])
def test_a_panel_of_the_spread_is_drawn_for_members_alone(members: bool) -> None:
    [method] = scored("test", methods=("net",), segments=[4, 4])
    share, k = np.full(20, 0.05), np.linspace(0.1, 0.5, 5)
    curves = {"ranks": {"rank": np.arange(20), "share": share}}
    curves["activity"] = {f"coverage_{level}": np.full(len(ACTIVITIES), level / 100) for level in LEVELS}
    if members:
        curves["spread_spectrum"] = {"wavenumber": k, **dict.fromkeys(("error", "spread", "members", "hr"), 1 / k)}
    methods = {"net, calibrated": replace(method, curves=curves)}
    [(kind, figure, caption)] = distribution_figures(methods, [], 2, SQUARE)
    labels = [axis.get_ylabel() for axis in figure.axes]
    assert kind == "calibration"
    assert [label.startswith("power") for label in labels] == ([False, True, False] if members else [False, False])
    assert all(axis.has_data() for axis in figure.axes)
    assert ("Middle: spread" in caption) == members
    assert caption.startswith("Left: ")
    assert "Right: pixels of HR" in caption
