"""Break-even of a coarse run with super-resolution: errors of solvers, and when a network pays."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks.break_even import Method, cpu_seconds, main, measure, on_cells, page, paid_back, resized_frames, timed
from vsr.data.simulation.families import start_family

SIZE = 64


def test_finer_solvers_are_better_and_the_truth_is_exact() -> None:
    found = {m.name: m for m in measure("bores", [(0, 1, 0)], SIZE, 4, lambda frames: resized_frames(frames, SIZE))}
    assert list(found) == ["coarse solver", "1.5 times as fine", "2 times as fine", "3 times as fine", "coarse + SR", "truth"]
    errors = [found[name].error for name in ("coarse solver", "1.5 times as fine", "2 times as fine", "3 times as fine", "truth")]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] == 0 < errors[-2] < errors[0] < 1
    assert found["coarse + SR"].error == found["coarse solver"].error  # the same splines
    assert found["coarse solver"].seconds < found["truth"].seconds


@pytest.mark.parametrize("cells", [16, 24, 48])
def test_a_flow_on_other_cells_keeps_its_mass(cells: int) -> None:
    flow = start_family("tide", (0, 0, 0), SIZE)
    other = on_cells(flow, cells)
    assert other.h.shape == (cells, cells)
    assert other.h.mean(dtype=np.float64) == pytest.approx(flow.h.mean(dtype=np.float64), rel=1e-6)
    depth = resized_frames(other.h[None], SIZE)[0]
    assert np.corrcoef(depth.ravel(), flow.h.ravel())[0, 1] > 0.9


def test_what_is_paid_once_is_paid_back_by_cheaper_trajectories_or_never() -> None:
    solvers = [Method("coarse solver", 0.1, 1.0), Method("2 times as fine", 0.03, 8.0), Method("truth", 0.0, 60.0)]
    assert paid_back([*solvers, Method("coarse + SR", 0.03, 3.0)], 100.0) == ("2 times as fine", 20.0)
    assert paid_back([*solvers, Method("coarse + SR", 0.02, 10.0)], 100.0) == ("truth", 2.0)
    assert paid_back([*solvers, Method("coarse + SR", 0.03, 9.0)], 100.0) == ("2 times as fine", math.inf)
    assert "are paid back: never." in page([*solvers, Method("coarse + SR", 0.2, 2.0)], 100.0, "typed")
    before = cpu_seconds()
    _, seconds = timed(lambda: sum(i * i for i in range(200_000)))
    assert 0 < seconds <= cpu_seconds() - before


def test_one_command_trains_and_writes_the_page(tmp_path: Path) -> None:
    few = ["data.learn=20", "data.test=10", "epochs=1", "recipe.steps=2", "recipe.patch=8", "model.width=4", "model.blocks=1"]
    typed = ["--family", "bores", "--size", str(SIZE), "--scale", "4", "--budget", "", "--test", "1", "--out", str(tmp_path)]
    main([*typed, *(word for key in few for word in ("--override", key))])
    content = json.loads((tmp_path / "break_even.json").read_text())
    assert [method["name"] for method in content["methods"]][-2:] == ["coarse + SR", "truth"]
    assert content["once"] > 1
    assert content["rival"] in (tmp_path / "break_even.md").read_text()
