"""The definitions of scores and the page that explains them."""

from __future__ import annotations

import re

from tests.fakes import ROOT
from vsr.metrics.definitions import DEFINITIONS, HEADLINE_SCORES, QUANTILES
from vsr.metrics.motion import MOTION_SCORES


def test_the_page_explains_every_score_under_what_it_is_of() -> None:
    page = (ROOT / "docs" / "reference" / "metrics.md").read_text()
    parts = {
        "frame": page.split("## Scores per frame")[1].split("## ")[0],
        "segment": page.split("## Scores per segment")[1].split("## ")[0],
    }
    for per, part in parts.items():
        lines = [line.split("|") for line in part.splitlines() if line.startswith("| `")]
        names = [name for line in lines for name in re.findall(r"`(\w+)`", line[1])]
        headings = [heading.strip() for line in lines for heading in line[2].split(";")]
        expected = {name: known.label for name, known in DEFINITIONS.items() if known.per == per}
        assert dict(zip(names, headings, strict=True)) == expected


def test_the_scores_of_training_are_defined() -> None:
    assert {*HEADLINE_SCORES, *MOTION_SCORES} <= set(DEFINITIONS)


def test_the_names_of_quantiles_say_their_level_in_per_mille() -> None:
    assert {name: int(name[1:]) / 1000 for name in QUANTILES} == QUANTILES
    assert [DEFINITIONS[name].label for name in QUANTILES] == ["q 0.1%", "q 1%", "q 99%", "q 99.9%"]
