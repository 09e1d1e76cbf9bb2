"""Scores over lead time, against means that are taken by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.evaluation.synthetic import scored
from vsr.evaluation.lead_time import add_lead_time_curves, lead_time_findings, lead_time_sentences
from vsr.evaluation.report.csv_json import lead_times_csv
from vsr.evaluation.report.figures import lead_time_figure
from vsr.evaluation.scored import MethodScores
from vsr.metrics.definitions import RESOLVED
from vsr.metrics.intervals import SegmentIntervals

LENGTHS = [6, 6, 6, 6, 3]  # of the trajectories, one of which ends early


def with_lead_times(unit: str = "h") -> list[MethodScores]:
    lead = np.concatenate([0.1 * np.arange(n) * (1 + 1e-9 * i) for i, n in enumerate(LENGTHS)])
    found = scored("test", methods=("bicubic", "linear", "net"), segments=LENGTHS)
    time = np.round(lead / 0.1)
    for one in found:
        one.frames["nyquist_coherence"] = 1.02 - 0.1 * time * (2 if one.method == "bicubic" else 1)
    net, bicubic = found[2].frames, found[0].frames
    net["mse"] = np.where(time == 4, 1.1, 0.5) * bicubic["mse"]
    return add_lead_time_curves([replace(one, lead=lead, lead_unit=unit) for one in found])


def test_means_and_intervals_are_those_of_the_trajectories_that_have_the_frame() -> None:
    bicubic, _, net = with_lead_times()
    curve = net.curves["lead_time"]
    np.testing.assert_allclose(curve["time"], 0.1 * np.arange(6))
    assert curve["trajectories"].tolist() == [5, 5, 5, 4, 4, 4]
    starts = np.cumsum([0, *LENGTHS[:-1]])
    for step in range(6):
        at = np.array([start + step for start, length in zip(starts, LENGTHS, strict=True) if step < length])
        mse, its = net.frames["mse"][at], bicubic.frames["mse"][at]
        both = np.isfinite(mse)
        assert curve["mse"][step] == pytest.approx(mse[both].mean())
        assert curve["skill_bicubic"][step] == pytest.approx(1 - mse[both].sum() / its[both].sum())
        over = SegmentIntervals(np.arange(len(at)))
        known = [curve[f"{name}_{end}"][step] for name in ("mse", "skill_bicubic") for end in ("low", "high")]
        np.testing.assert_allclose(known, [*over.mean(mse), *over.skill(mse, its)])  # type: ignore[misc]
    assert "skill_bicubic" not in bicubic.curves["lead_time"]
    few = add_lead_time_curves([replace(net, segment_of=np.minimum(net.segment_of, 2))])[0].curves["lead_time"]
    assert np.isnan(few["mse_low"]).all()


@pytest.mark.parametrize("unit", ["h", "frames"])
def test_a_sentence_says_where_skill_ends_and_where_bicubic_is_as_good(unit: str) -> None:
    found = with_lead_times(unit)
    findings = {one["method"]: one for one in lead_time_findings(found)}
    assert findings["bicubic"]["skill_ends"] == pytest.approx(0.3)
    assert findings["net"]["skill_ends"] is None
    assert findings["net"]["loses_to_bicubic"] == pytest.approx(0.4)
    [sentence] = lead_time_sentences([*findings.values()])["test"]
    assert findings["net"]["beats_bicubic"] == [pytest.approx([0.0, 0.3]), pytest.approx([0.5, 0.5])]
    last, first, start = (f"frame {x}" if unit == "frames" else f"{x} h" for x in (0.5, 0.3, 0))
    assert sentence == (
        f"net: the coherence with HR at the LR Nyquist wavenumber is {RESOLVED} or more up to the last lead time, {last} "
        f"(bicubic: is below {RESOLVED} at {first} for the first time); "
        f"it is better than bicubic from {start} to {first} and from {last} to {last} (the last lead time)"
    )
    again = [*findings.values(), findings["net"] | {"method": "net, calibrated"}]
    assert lead_time_sentences(again) == {"test": [sentence]}  # calibrated intervals change no prediction
    other = [*findings.values(), findings["net"] | {"method": "other"}]
    assert lead_time_sentences(other) == {"test": [sentence, sentence.replace("net: ", "other: ", 1)]}
    seconds = [one | {"time_unit": "seconds", "last": 36000.0, "beats_bicubic": [[1800.0, 36000.0]]} for one in findings.values()]
    assert "better than bicubic from 1800 seconds to 10 h (the last lead time)" in lead_time_sentences(seconds)["test"][0]
    never = [one | {"beats_bicubic": []} for one in findings.values()]
    assert lead_time_sentences(never)["test"][0].endswith("it is better than bicubic at no lead time")
    figure = lead_time_figure({one.method: one for one in found})
    assert figure is not None
    assert [axis.get_xlabel() for axis in figure.axes] == [f"lead time ({unit})"] * 2
    plain = lead_time_figure({one.method: replace(one, lead_unit="1") for one in found})
    assert plain is not None
    assert [axis.get_xlabel() for axis in plain.axes] == ["lead time"] * 2
    lines = lead_times_csv(found).splitlines()
    assert lines[0].startswith("split,method,time,time_unit,trajectories,mae,mae_low,mae_high,")
    assert len(lines) == 1 + 3 * 6


def test_without_lead_times_there_is_nothing() -> None:
    found = add_lead_time_curves(scored("test", methods=("bicubic", "net"), segments=[3]))
    assert lead_time_findings(found) == []
    assert lead_times_csv(found) == ""
    assert lead_time_figure({one.method: one for one in found}) is None
