"""The headline scores as people read them: no line too long, no name that moves the cursor, the best marked."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.evaluation.synthetic import BASELINES, scored
from vsr.evaluation.rows import build_rows
from vsr.metrics.headline import headline_table, headline_verdict
from vsr.metrics.variables import table_part

LONG = "network-" * 20
ESCAPES = "\x1b[31mred\x07\u202e"
TRAINED: dict[str, Any] = {"split": "test", "frames": 80, "segments": 8, "mae": 0.1, "mse": 0.01, "ssim": 0.9, "parameters": 7}


def rows_of(*methods: str, split: str = "test") -> list[dict]:
    return build_rows(scored(split, methods=(*BASELINES, *methods), segments=[4, 5, 6, 4]))


def test_the_table_says_what_the_rows_say() -> None:
    rows = rows_of("net") + build_rows(scored("unseen", methods=(*BASELINES, "net"), segments=[4, 5], seed=2))
    lines = headline_table(rows).splitlines()
    header = ["method", "MAE", "MSE", "PSNR", "SSIM", "over bicubic", "over linear", "parameters", "train s"]
    assert re.split(r"\s{2,}", lines[0]) == header
    assert lines[1].startswith("--- test, 18 frames of 4 movies ---")
    assert lines[7].startswith("--- unseen, 8 frames of 2 movies ---")
    for line, row in zip([*lines[2:7], *lines[8:13]], rows, strict=True):
        cells = re.split(r"\s{2,}", line)
        best = row["psnr"] == max(other["psnr"] for other in rows if other["split"] == row["split"])
        gained = "".join(f" [{least:+.1f}, {most:+.1f}]" for least, most in filter(None, [row["intervals"].get("gain_linear")]))
        assert cells == [
            row["method"] + " *" * best,
            f"{row['mae']:.3e}",
            f"{row['mse']:.3e}",
            f"{row['psnr']:.2f}",
            f"{row['ssim']:.4f}",
            f"{row['gain_bicubic']:+.2f}",
            f"{row['gain_linear']:+.2f}{gained}",
            str(row["parameters"]),
            f"{row['train_seconds']:.0f}" if row["train_seconds"] else "-",
        ]
    assert "[" in lines[2]
    assert "[" not in lines[9]  # two segments
    assert lines[13:] == ["PSNR and gains in dB; * the best PSNR; in brackets: 95% interval over the movies"]


@pytest.mark.parametrize("name", ["net", LONG, ESCAPES])
def test_no_line_is_too_long_and_nothing_in_it_moves_the_cursor(name: str) -> None:
    found = headline_table(rows_of(name, split=name))
    assert max(len(line) for line in found.splitlines()) <= 100
    assert all(mark.isprintable() for mark in found.replace("\n", ""))
    assert all(head in found for head in ("PSNR", "SSIM", "over bicubic", "over linear"))
    assert ("MSE" in found) == (name == "net")  # which says what PSNR says


def test_nothing_to_compare_with_leaves_no_column_and_no_rival() -> None:
    rows = build_rows(scored("test", methods=("nearest", "net"), segments=[4, 4]))
    assert "over b" not in headline_table(rows)
    assert headline_verdict(rows[1], rows).startswith("net has no rival here on test (7 frames of 2 movies).")


def test_a_verdict_of_training_is_that_of_the_report_without_the_error() -> None:
    """Rows of a training have no gains and no RMSE; the gains are differences of PSNR."""
    psnr = {"bicubic": 30.0, "linear": 33.4, "net": 33.0}
    rows = [TRAINED | {"method": name, "psnr": value, "intervals": {}, "train_seconds": 0.0} for name, value in psnr.items()]
    rows[2]["intervals"] = {"gain_linear": [-0.6, -0.2]}
    assert headline_verdict(rows[2], rows) == (
        "net beats bicubic by 3.0 dB and is below the best linear filter by 0.4 dB on test (80 frames of 8 movies). "
        "The 95% interval of the gain over the linear filter is -0.6 to -0.2 dB. The linear filter is better and "
        "costs less; model=linear writes it as a checkpoint."
    )
    assert headline_verdict(rows[1], rows).startswith("linear beats bicubic by 3.4 dB on test (80 frames")
    line = next(line for line in headline_table(rows).splitlines() if line.startswith("linear"))
    assert line.startswith("linear * ")
    assert "+3.40" in line


@pytest.mark.parametrize(("unit", "part"), [("K", "test: t (K)"), ("1", "test: t"), ("", "test: t")])
def test_a_pure_number_has_no_unit_in_the_name_of_a_part(unit: str, part: str) -> None:
    assert table_part({"split": "test", "variable": "t", "unit": unit}) == part
