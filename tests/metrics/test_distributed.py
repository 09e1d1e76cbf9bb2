"""Metrics of two processes with half of the clips each, against one process with all clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.processes import run_ranks
from vsr.degradations.resize import resize_bicubic_down
from vsr.metrics.collection import DataProperties, MetricCollection
from vsr.metrics.definitions import DEFINITIONS
from vsr.system.ranks import join_ranks, leave_ranks, wait_for_all_ranks

Told = dict[str, dict[str, np.ndarray]]
# Of one process: segments of several lengths and sizes, one of them masked, one in pieces.
SEGMENTS = [(9, 24, 20), (70, 24, 20), (1, 24, 20), (12, 30, 26), (10, 24, 20)]
SHARES = [([0, 1], [2, 3, 4]), ([0, 1, 2, 3, 4], [])]  # each its half; one has none


def metrics() -> MetricCollection:
    return MetricCollection(
        DataProperties(
            scale=2, bounds=(0.0, 4.0), window=(0, 0, 0), geostrophic=True, degrade=lambda hr: resize_bicubic_down(hr, 2)
        )
    )


def score(metric: MetricCollection, number: int) -> None:
    frames, height, width = SEGMENTS[number]
    draw = torch.Generator().manual_seed(number)
    sr, hr = torch.rand(2, 1, 1, frames, height, width, generator=draw).unbind(0)
    mask = torch.ones_like(hr)
    if number == 4:
        mask[..., :5] = 0
    lr: Tensor = resize_bicubic_down(hr[0].transpose(0, 1), 2).transpose(0, 1)[None]
    for start in range(0, frames, 40):
        at = (slice(None), slice(None), slice(start, start + 40))
        metric.update(sr[at], hr[at], mask[at], lr=lr[at], follows=start > 0)


def told(metric: MetricCollection) -> Told:
    means = {name: mean.numpy() for name, mean in metric.compute().items()}
    curves = {f"{name} {key}": column for name, curve in metric.curves().items() for key, column in curve.items()}
    order = {"segment_of": metric.segment_of()}
    return {"means": means, "frames": metric.frames(), "segments": metric.segments(), "curves": curves, "order": order}


def process(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    join_ranks("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    found = []
    for share in SHARES:
        metric = metrics()
        for number in share[rank]:
            score(metric, number)
        found += [told(metric), told(metric)]  # twice: nothing that was gathered stays behind
    torch.save(found, f"{folder}/{rank}.pt")
    wait_for_all_ranks()
    leave_ranks()


@pytest.mark.long
def test_two_processes_tell_what_one_does(tmp_path: Path) -> None:
    run_ranks(process, str(tmp_path))
    alone = metrics()
    for number in range(len(SEGMENTS)):
        score(alone, number)
    expected = told(alone)
    assert list(expected["means"]) == list(DEFINITIONS)
    for rank in (0, 1):
        for found in torch.load(tmp_path / f"{rank}.pt", weights_only=False):
            for what, columns in expected.items():
                assert list(found[what]) == list(columns)
                for name, column in columns.items():
                    np.testing.assert_allclose(found[what][name], column, rtol=1e-12, err_msg=f"{what} {name}")
