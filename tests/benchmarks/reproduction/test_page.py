"""The report's page and what it is written from; the page that is in docs/ is checked against its facts."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.common.markdown import gain, spread, table
from benchmarks.reproduction.claims import verdict
from benchmarks.reproduction.page import render
from benchmarks.reproduction.report_values import CHAINS, TRAINED
from benchmarks.reproduction.tables import ReportResults, summary
from tests.fakes import ROOT

FACTS = ROOT / "docs" / "results" / "report.json"
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


@pytest.fixture(scope="module")
def facts() -> dict:
    return json.loads(FACTS.read_text(encoding="utf-8"))


def test_the_page_in_docs_is_what_its_facts_say(facts: dict) -> None:
    assert FACTS.with_suffix(".md").read_text(encoding="utf-8") == render(facts), "type make tables"


def test_another_number_is_another_page(facts: dict) -> None:
    changed = json.loads(json.dumps(facts))
    changed["runs"]["table2"]["seeds"][0]["last"]["val"]["psnr"] += 1
    assert render(changed) != render(facts)


def test_every_picture_of_the_page_is_there(facts: dict) -> None:
    pictures = re.findall(r"\]\((\.\./images/[^)]+)\)", render(facts))
    assert len(pictures) == 10
    assert all((FACTS.parent / picture).is_file() for picture in pictures)


def test_the_summary_compares_gains_only(facts: dict) -> None:
    lines = {line.split(" | ")[0].strip("| "): line.split(" | ") for line in summary(ReportResults(facts)).splitlines()[2:]}
    assert list(lines) == [str(n) for n in range(1, 9)]
    for name in TRAINED:
        number = name.removeprefix("table")
        baseline = "movies_bicubic" if name == "table4" else "bicubic"
        given = [facts["runs"][baseline]["seeds"][0]["first"]["val"]["psnr"]] * 3
        if name in ("table5", "table6"):
            given = [seed["first"]["val"]["psnr"] for seed in facts["runs"][name]["seeds"]]
        ours = [seed["last"]["val"]["psnr"] - a for seed, a in zip(facts["runs"][name]["seeds"], given, strict=True)]
        assert float(NUMBER.search(lines[number][4])[0]) == pytest.approx(sum(ours) / len(ours), abs=0.006)  # type: ignore[index]
    assert [lines[number][3] for number in "1234"] == ["not given", "not given", "+2.52", "not given"]
    assert lines["7"][3] == f"{CHAINS['table7']['network'].psnr - CHAINS['table7']['after repacking'].psnr:+.2f}"
    assert [lines[number][6].strip(" |") for number in "1238"] == ["-", "-", "higher", "higher"]


def test_the_reports_own_numbers_agree_with_each_other() -> None:
    """Its PSNR is a mean over frames of 10 log10(1 / MSE), so never below that of the mean MSE."""
    for name, epochs in TRAINED.items():
        peak = 255.0**2 if name == "table4" else 1.0
        for epoch, scores in epochs.items():
            for three in scores:
                # Table 5's last training MSE is ten times that of its PSNR, a slip of the report's.
                if (name, epoch) != ("table5", 67):
                    import math

                    assert three.psnr >= 10 * math.log10(peak / three.mse) - 0.7


@given(st.lists(st.floats(-50, 60), min_size=1, max_size=5))
def test_spreads_hold_all_seeds(values: list[float]) -> None:
    text = spread(values, ".6f")
    middle, *half = (float(part) for part in text.split(" ± "))
    assert middle == pytest.approx(sum(values) / len(values), abs=1e-5)
    if half:
        assert max(values) - min(values) == pytest.approx(2 * half[0], abs=1e-5)


def test_words_for_numbers() -> None:
    assert spread([1.0]) == "1.00"
    assert spread([1.0, 2.0]) == "1.50 ± 0.50"
    assert spread([1e-4, 3e-4], ".2e") == "(2.00 ± 1.00)e-04"
    assert gain([3.0, 5.0], [1.0]) == "+3.00 ± 1.00"
    assert gain([3.0, 5.0], [3.0, 5.0]) == "+0.00 ± 0.00"
    assert table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | ---: |\n| 1 | 2 |"


def test_a_verdict_needs_more_than_the_spread() -> None:
    phrases = ("better", "worse", "same")
    assert verdict([2.0, 2.2], [1.0, 1.1], *phrases) == "better"
    assert verdict([1.0, 1.1], [2.0, 2.2], *phrases) == "worse"
    assert verdict([1.0, 2.0], [1.3, 1.4], *phrases) == "same"
    assert verdict([1.0], [1.05], *phrases) == "same"
