"""The numbers of a report follow from its files alone: means, gains and skills with csv and numpy."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.evaluation.conftest import Written
from tests.evaluation.synthetic import NASTY, sample, scored
from vsr.errors import UserError
from vsr.evaluation.report.csv_json import results_json, to_jsonable
from vsr.evaluation.report.write import write_report
from vsr.evaluation.rows import build_rows
from vsr.metrics.definitions import DEFINITIONS

FILES = {"results.json", "frames.csv", "segments.csv", "table.md", "table.tex", "report.html"}


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def numbers(lines: list[dict[str, str]], column: str) -> np.ndarray:
    return np.array([float(line[column]) if line[column] else math.nan for line in lines])


def recomputed(recipe: dict[str, str], row: dict, folder: Path) -> float:
    """A number of a row from its recipe: nothing but the text says which arithmetic it is."""
    every = table(folder / recipe["file"])

    def lines(method: str) -> list[dict[str, str]]:
        return [line for line in every if line["split"] == row["split"] and line["method"] == method]

    own, how = lines(row["method"]), recipe["how"]
    if how.startswith("nanmean of the rows with this split and method"):
        return float(np.nanmean(numbers(own, recipe["column"])))
    if how.startswith("number of") or how.startswith("number of different"):
        scores = [name for name in every[0] if name not in ("split", "method", "segment", "frame")]
        there = [line for line in own if any(line[name] for name in scores)]
        return len(there) if how.startswith("number of the rows") else len({line[recipe["column"]] for line in there})
    mine, its = (numbers(found, recipe["column"]) for found in (own, lines(recipe["reference"])))
    if how.startswith("nanmean of (column - the reference's column)"):
        return float(np.nanmean(mine - its))
    assert how.startswith("1 - sum(column) / sum(the reference's column)")
    both = ~np.isnan(mine + its)
    return float(1 - mine[both].sum() / its[both].sum())


@pytest.mark.long
def test_every_number_of_every_row_comes_from_the_csv_files(written: Written) -> None:
    content = json.loads((written.folder / "results.json").read_text())
    assert len(content["rows"]) == 12
    free = {"split", "method", "baseline", "parameters", "train_seconds", "intervals"}  # what is not a mean
    checked = 0
    for row in content["rows"]:
        assert set(row) - free == set(content["recipes"])
        for name, recipe in content["recipes"].items():
            assert row[name] == pytest.approx(recomputed(recipe, row, written.folder), rel=1e-12, abs=1e-13), name
            checked += 1
    assert checked == 12 * (len(DEFINITIONS) + 6)  # frames, segments, two gains, two skills


def test_intervals_hold_their_means_and_only_enough_segments_have_them(written: Written) -> None:
    rows = json.loads((written.folder / "results.json").read_text())["rows"]
    for row in rows:
        assert bool(row["intervals"]) == (row["split"] == "test")
        for name, (low, high) in row["intervals"].items():
            assert low < row[name] < high, name
    network = next(row for row in rows if row["split"] == "test" and not row["baseline"])
    assert {*DEFINITIONS, "gain_bicubic", "gain_linear", "skill_bicubic", "skill_linear"} == set(network["intervals"])
    bicubic = next(row for row in rows if row["split"] == "test" and row["method"] == "bicubic")
    assert bicubic["gain_bicubic"] == bicubic["skill_bicubic"] == 0
    assert "gain_bicubic" not in bicubic["intervals"]


def test_floats_and_names_survive_the_csv(written: Written) -> None:
    lines = table(written.folder / "frames.csv")
    assert list(lines[0])[:5] == ["split", "method", "segment", "frame", "mae"]
    at = 0
    for one in written.scored:
        for frame, segment in enumerate(one.segment_of):
            line = lines[at]
            place = (line["split"], line["method"], int(line["segment"]), int(line["frame"]))
            assert place == (one.split, one.method, segment, frame)
            at += 1
        own = lines[at - len(one.segment_of) : at]
        for name, column in one.frames.items():
            np.testing.assert_array_equal(numbers(own, name), column)  # to the last bit
    assert at == len(lines)
    whole = table(written.folder / "segments.csv")
    first = whole[: len(written.scored[0].segments["flicker"])]
    np.testing.assert_array_equal(numbers(first, "flicker"), written.scored[0].segments["flicker"])
    assert [int(line["frames"]) for line in first] == [5, 9, 4, 7, 6]


def test_results_say_what_the_scores_are(written: Written) -> None:
    text = (written.folder / "results.json").read_text()
    content = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert set(content["definitions"]) == set(DEFINITIONS)
    assert content["definitions"]["psnr"]["unit"] == "dB"
    assert content["protocol"]["data"][NASTY] is None  # NaN
    assert content["protocol"]["checkpoints"][0]["path"] == "a/<b>.ckpt"
    assert content["command"] == f"vsr evaluate 'checkpoint={NASTY}'"
    assert len(content["curves"]) == 2 * len(written.scored)
    curve = next(one for one in content["curves"] if one["curve"] == "spectrum")
    np.testing.assert_array_equal(curve["columns"]["coherence"], written.scored[0].curves["spectrum"]["coherence"])


def test_everything_is_there_and_nothing_half_written(written: Written) -> None:
    found = {str(path.relative_to(written.folder)) for path in written.folder.rglob("*") if path.is_file()}
    kinds = {"frame": "png", "movie": "mp4", "spectra": "png", "psnr": "png"}
    figures = {f"figures/{kind}-{split}.{ending}" for kind, ending in kinds.items() for split in ("test", "i-unseen")}
    assert found == FILES | figures


def test_scores_that_nobody_has_are_null() -> None:
    one, two, *_ = scored("test", methods=("bicubic", "net"), segments=[4, 4, 4])
    empty = {**two.frames, "psnr": np.full(12, np.nan), "rmse": np.full(12, np.inf), "enstrophy": np.full(12, np.nan)}
    del empty["q001"]
    rows = build_rows([one, replace(two, frames=empty)])
    assert [rows[1][name] for name in ("psnr", "rmse", "enstrophy", "q001", "gain_bicubic")] == [None] * 5
    assert not {"psnr", "rmse", "enstrophy", "q001", "gain_bicubic"} & set(rows[1]["intervals"])
    assert rows[1]["skill_bicubic"] is not None
    assert rows[0]["gain_linear"] is None  # there is no such row
    json.dumps(results_json([one, replace(two, frames=empty)], {}, rows), allow_nan=False)


def test_a_reference_without_error_has_no_skill() -> None:
    one, two = scored("test", methods=("bicubic", "net"), segments=[4, 4, 4])
    perfect = replace(one, frames={**one.frames, "mse": np.zeros(12)})
    row = build_rows([perfect, two])[1]
    assert row["skill_bicubic"] is None
    assert "skill_bicubic" not in row["intervals"]


def test_what_cannot_be_compared_is_refused() -> None:
    one, two = scored("test", methods=("bicubic", "net"), segments=[4, 4])
    with pytest.raises(ValueError, match="split test: net comes twice"):
        build_rows([one, two, two])
    with pytest.raises(ValueError, match="net and bicubic were not scored on the same frames"):
        build_rows([one, replace(two, segment_of=np.zeros(8, int))])
    with pytest.raises(ValueError, match="without a definition: vmaf"):
        build_rows([one, replace(two, frames={**two.frames, "vmaf": np.zeros(8)})])


def test_rows_of_a_split_stand_together() -> None:
    a, b = scored("a", methods=("bicubic", "net"), segments=[4]), scored("b", methods=("bicubic", "net"), segments=[3])
    rows = build_rows([a[0], b[0], a[1], b[1]])
    assert [(row["split"], row["method"]) for row in rows] == [("a", "bicubic"), ("a", "net"), ("b", "bicubic"), ("b", "net")]


def test_values_become_plain_json() -> None:
    value = {1: np.float32(0.5), "a": (np.arange(2), float("inf"), True, None), "p": Path("x"), "n": np.array([1.0, np.nan])}
    assert to_jsonable(value) == {"1": 0.5, "a": [[0, 1], None, True, None], "p": "x", "n": [1.0, None]}


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = scored("test", methods=("bicubic",), segments=[3])
    with pytest.raises(UserError, match=r"cannot be written \(.*; type hydra.run.dir=FOLDER"):
        write_report(tmp_path / "file" / "out", found, [], {}, command="c", field=True)


def test_splits_whose_names_differ_only_in_what_files_cannot_hold_keep_apart(tmp_path: Path) -> None:
    names = ["a/b", "a b", "A:B", "../.."]
    found = [replace(one, curves={}) for name in names for one in scored(name, methods=("bicubic",), segments=[3])]
    write_report(
        tmp_path / "out", found, [sample("../..", size=(1, 1, 24, 32), methods=("bicubic",))], {}, command="c", field=False
    )
    figures = {path.name for path in (tmp_path / "out" / "figures").iterdir()}
    assert {"psnr-a-b.png", "psnr-a-b-2.png", "psnr-A-B-3.png"} <= figures
    assert len(figures) == 5
    assert {path.name for path in tmp_path.iterdir()} == {"out"}
