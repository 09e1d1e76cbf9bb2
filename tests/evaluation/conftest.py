"""One evaluation, written once, that several tests look at."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from tests.evaluation.synthetic import BASELINES, NASTY, sample, scored
from vsr.evaluation.report.write import write_report
from vsr.evaluation.scored import MethodScores, SampleFrames


class Written(NamedTuple):
    folder: Path
    scored: list[MethodScores]
    samples: list[SampleFrames]
    protocol: dict


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Two splits, six methods; names as bad as they come."""
    folder = tmp_path_factory.mktemp("evaluation") / "made" / "here"
    methods = (*BASELINES, "net, 'a' & \"b\"\n#2", NASTY)
    found = [
        *scored("test", methods=methods, segments=[5, 9, 4, 7, 6]),
        *scored("<i>unseen", methods=methods, segments=[8, 7], seed=1),
    ]
    samples = [sample(split, methods=methods[2:]) for split in ("test", "<i>unseen")]
    protocol = {
        "scale": 2,
        "window": [0, 3, 2],
        "data": {"name": NASTY, "frames": {"train": 100}, "sha256": "ab" * 32, NASTY: float("nan")},
        "checkpoints": [{"path": Path("a/<b>.ckpt"), "sha256": "cd" * 32}, {"path": Path("c.ckpt"), "sha256": "ef" * 32}],
        "config": {f"key{i}": {"inner": [i, None]} for i in range(20)},
    }
    write_report(folder, found, samples, protocol, command=f"vsr evaluate 'checkpoint={NASTY}'", field=True)
    return Written(folder, found, samples, protocol)
