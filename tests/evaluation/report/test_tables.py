"""Tables as people read them: no line too long, no name that breaks them, the right numbers in bold."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from tests.evaluation.conftest import Written
from tests.evaluation.synthetic import BASELINES, scored
from vsr.evaluation.report.columns import Column, column_blocks
from vsr.evaluation.report.tables import report_table_latex, report_table_markdown
from vsr.evaluation.rows import build_rows


def rows_of(*methods: str, split: str = "test") -> list[dict]:
    return build_rows(scored(split, methods=(*BASELINES, *methods), segments=[4, 5, 6, 4]))


def test_narrow_intervals_keep_their_ends_apart() -> None:
    column = Column(key="psnr", label="PSNR", unit="dB", better="high")
    assert column.interval({"intervals": {"psnr": [43.1, 43.52]}}) == "[43.1, 43.5]"
    assert column.interval({"intervals": {"psnr": [43.28, 43.33]}}) == "[43.28, 43.33]"
    assert column.interval({"intervals": {}}) == ""


def test_nothing_to_compare_with_leaves_no_column() -> None:
    rows = build_rows(scored("test", methods=("nearest", "net"), segments=[4, 4]))
    assert "over b" not in report_table_markdown(rows)


def test_splits_without_motion_have_no_rows_in_the_table_of_motion() -> None:
    moving, still = (
        scored("film", methods=("bicubic",), segments=[9]),
        scored("photographs", methods=("bicubic",), segments=[1] * 9),
    )
    rows = build_rows([*moving, replace(still[0], segments={})])
    block = next(block for block in column_blocks(rows) if block.title == "time")
    assert [row["split"] for row in block.rows] == ["film"]
    assert [row["split"] for row in column_blocks(rows)[0].rows] == ["film", "photographs"]


def cells(line: str, separator: str) -> list[str]:
    return [cell.strip() for cell in re.split(rf"(?<!\\){separator}", line)]


def test_markdown_tables_have_as_many_cells_in_every_row() -> None:
    nasty = "a|b*c_d`e`<f>\n# [g](h)"
    found = report_table_markdown(rows_of(nasty))
    tables = re.findall(r"(?:^\|.*\|\n?)+", found, re.MULTILINE)
    assert len(tables) == 8
    for table in tables:
        counts = {len(cells(line, r"\|")) for line in table.splitlines()}
        assert len(counts) == 1
    assert r"a\|b\*c\_d\`e\`&lt;f&gt;" in found
    assert "\n# [g]" not in found


def test_latex_tables_have_as_many_cells_as_columns_and_balanced_braces() -> None:
    nasty = "100% & #1 {x}_y^2 ~ $z$ \\input{secret} [opt]"
    found = report_table_latex(rows_of(nasty, split="[4pt]"))
    tables = re.findall(r"\\begin\{tabular\}\{@\{\}(l+r+)@\{\}\}\n(.*?)\\end\{tabular\}", found, re.DOTALL)
    assert len(tables) == 8
    for columns, body in tables:
        assert body.startswith("\\toprule\n")
        assert body.endswith("\\bottomrule\n")
        rows = [line for line in body.splitlines() if line.endswith(r" \\")]
        assert len(rows) == 6
        assert {len(cells(line, "&")) for line in rows} == {len(columns)}
    plain = re.sub(r"\\[{}\\]", "", found)
    assert plain.count("{") == plain.count("}")
    assert r"\input" not in found.replace(r"\textbackslash{}input", "")
    assert r"100\% \& \#1 \{x\}\_y\textasciicircum{}2" in found
    assert len(re.findall(r"(?<!\\)\$", found)) % 2 == 0
    assert not re.search(r"\\\\\s*\[", found)  # would be an argument of the row's end


def test_latex_writes_powers_of_ten_and_bold_in_plain_mathematics() -> None:
    rows = rows_of("net")
    found = report_table_latex(rows)
    best = min(row["mse"] for row in rows)
    base, exponent = f"{best:.3e}".split("e")
    assert rf"$\mathbf{{{base}\cdot10^{{{int(exponent)}}}}}$" in found
    assert r"{\scriptsize $[" in found


@pytest.mark.parametrize(
    ("better", "values", "best"),
    [
        ("high", [1.0, 3.0, 2.0], [False, True, False]),
        ("low", [1.0, 3.0, 2.0], [True, False, False]),
        ("one", [0.5, 1.3, 3.0], [False, True, False]),
        ("zero", [-0.1, 0.2, 0.3], [True, False, False]),
        ("low", [0.12341, 0.12342, 2.0], [True, True, False]),  # reads the same
        ("low", [None, 3.0, 2.0], [False, False, True]),
        ("low", [None, None, 2.0], [False, False, False]),  # nothing to beat
        ("low", [2.0, 2.0, 2.0], [False, False, False]),
        (None, [1.0, 3.0, 2.0], [False, False, False]),
    ],
)
def test_the_best_of_a_split_is_what_the_definition_calls_better(
    better: str, values: list[float | None], best: list[bool]
) -> None:
    column = Column(key="x", label="x", better=better)  # type: ignore[arg-type]
    rows = [{"split": "a", "x": value} for value in values]
    assert column.best(rows) == best
    assert column.best([*rows, {"split": "b", "x": 1.0}, {"split": "b", "x": 2.0}])[:3] == best  # splits do not mix


def test_baselines_can_be_the_best(written: Written) -> None:
    rows = build_rows(written.scored)
    swapped = [row | {"psnr": 99.0 if row["method"] == "nearest" else row["psnr"]} for row in rows]
    line = next(line for line in report_table_markdown(swapped).splitlines() if line.startswith("| test | nearest"))
    assert "| **99.00 " in line


@pytest.mark.parametrize(
    ("column", "value", "shown"),
    [
        (Column(key="rmse", label="", unit="data", better="low"), 12345.6, "1.235e+04"),
        (Column(key="rmse", label="", unit="data", better="low"), 1234.5, "1234"),
        (Column(key="rmse", label="", unit="data", better="low"), 0.5, "0.5000"),
        (Column(key="consistency", label="", better="low"), 3.2e-5, "3.20e-05"),
        (Column(key="mass", label="", better="zero"), 0.0012, "+1.20e-03"),
        (Column(key="gain_bicubic", label="", unit="dB", better="high"), 0.0, "+0.00"),
        (Column(key="psnr", label="", unit="dB", better="high"), None, "-"),
        (Column(key="parameters", label=""), 12640, "12640"),
    ],
)
def test_numbers_are_written_with_what_they_need(column: Column, value: float | None, shown: str) -> None:
    assert column.show(value) == shown
