"""The leaderboard's page, figures and the README's table from facts; those in docs/ are checked against theirs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks.leaderboard import dropped_ideas as ideas
from benchmarks.leaderboard.experiments import DATA, MODELS, MOVIES
from benchmarks.leaderboard.figures import draw_psnr_over_budget, draw_psnr_over_speed, pareto_front
from benchmarks.leaderboard.page import render
from benchmarks.leaderboard.readme_table import render_table, update_readme
from benchmarks.leaderboard.results import Leaderboard
from tests.fakes import ROOT, compose_config
from vsr.errors import UserError
from vsr.training.build_network import build_from_node, build_network

FACTS = ROOT / "docs" / "results" / "leaderboard.json"
ROW = {"psnr": 30.0, "ssim": 0.9, "lsd": 2.0, "change_error": 0.5, "flicker": None, "consistency": 0.01}


def row(psnr: float) -> dict[str, float | None]:
    return {**ROW, "psnr": psnr}


def one(psnr: float, elsewhere: dict[str, Any] | None = None, seed: int = 0) -> dict[str, Any]:
    return {
        "seed": seed,
        "train_seconds": 50.0,
        "rows": {"test": row(psnr), "unseen": row(psnr + 1)},
        "elsewhere": elsewhere or {},
    }


@pytest.fixture
def content() -> dict[str, Any]:
    """Two networks on the tide, with two budgets of three and two seeds for one of them."""
    base = {"test": {"bicubic": row(28.0), "linear": row(29.0)}, "unseen": {"bicubic": row(28.5), "linear": row(29.5)}}
    bores = {"bores": {"test": {"network": 21.0, "linear": 22.5}}}
    runs = {
        "1min": {"plain": {"command": "c", "plan": [4, 10], "seeds": [one(30.0, bores), one(31.0, bores, 1)]}},
        "5min": {"edsr": {"command": "c", "plan": [4, 10], "seeds": [one(35.0)]}},
    }
    cost = {"parameters": 7700, "multiply_adds": 1908.0}
    return {
        "made": {"vsr": "0", "commit": "abc", "torch": "2", "lightning": "2", "cpu": "a CPU", "cores": 2},
        "command": "python -m benchmarks.leaderboard",
        "seeds": 1,
        "jobs": 2,
        "precision": "bf16",
        "budgets": [{"name": "1min", "seconds": 60.0}, {"name": "5min", "seconds": 300.0}, {"name": "30min", "seconds": 1800.0}],
        "models": list(MODELS),
        "data": {name: list(source.models) if source.models else None for name, source in DATA.items()},
        "presets": {"fast": {"model": "plain", "budget": "1min"}, "best": {"model": "edsr", "budget": "5min"}},
        "costs": {
            "frame": 256,
            "threads": 2,
            "networks": {"plain": {**cost, "frames_per_second": 120.4}, "edsr": {**cost, "frames_per_second": 4.56}},
        },
        "rates": {},
        "protocols": {
            "tide": {"data": {"name": "climate-tide", "size": [72, 72], "frames": {"train": 96, "test": 50, "unseen": 60}}}
        },
        "baselines": {"tide": base},
        "runs": {"tide": runs},
    }


def line(text: str, section: str, start: str) -> list[str]:
    inside = text.split(f"### {section}\n", 1)[1].split("\n##", 1)[0]
    return [
        cell.strip() for cell in next(found for found in inside.splitlines() if found.startswith(f"| {start}")).split("|")[1:-1]
    ]


def test_the_page_in_docs_is_what_its_facts_say() -> None:
    facts = json.loads(FACTS.read_text(encoding="utf-8"))
    assert FACTS.with_suffix(".md").read_text(encoding="utf-8") == render(facts), "type make leaderboard"
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme == update_readme(readme, facts), "type make leaderboard"
    pictures = re.findall(r"\]\((\.\./images/[^)]+)\)", render(facts))
    assert all((FACTS.parent / picture).is_file() for picture in pictures)
    with pytest.raises(UserError, match="lacks the lines"):
        update_readme("# no marks", facts)


def test_rows_hold_means_over_seeds_gains_and_costs(content: dict[str, Any]) -> None:
    text = render(content)
    assert line(text, "tide, 1min", "`plain`") == [
        *("`plain`", "fast", "7,700", "1,908", "120", "50 ± 0", "30.50 ± 0.50", "31.50 ± 0.50", "+2.00"),
        *("0.9000 ± 0.0000", "2.00 ± 0.00", "0.500 ± 0.000", "-", "0.0100 ± 0.0000"),
    ]
    assert line(text, "tide, 5min", "`edsr`")[1:5] == ["best", "7,700", "1,908", "4.56"]
    assert re.search(r"### tide, 5min\n[^#]*Not run: `plain`, `plain_24`,", text)
    assert line(text, "tide, 5min", "bicubic")[6:9] == ["28.00", "28.50", "**-1.00**"]
    assert line(text, "tide, 5min", "linear")[6:9] == ["29.00", "29.50", "+0.00"]
    assert "`preset=fast` trains `plain` for 1min, 120 frames/s: +2.00 dB on tide." in text
    assert "### tide, 30min" not in text
    assert "Not run yet: 30min." in text
    assert "### bores" not in text
    assert "Not run yet: 1min, 5min, 30min." in text
    assert "`-`: not run" in text


def test_a_network_that_falls_below_the_filter_of_its_training_is_named(content: dict[str, Any]) -> None:
    text = render(content)
    table = text.split("## Trained on one family")[1].split("\n## ")[0]
    assert "| `plain`, trained on tide, 1min | +2.00 | **-1.50** | no | - |" in table
    seeds = content["runs"]["tide"]["1min"]["plain"]["seeds"]
    for seed in seeds:
        seed["elsewhere"]["bores"] = {"test": {"network": 25.0, "linear": 22.5}}
    table = render(content).split("## Trained on one family")[1].split("\n## ")[0]
    assert "| +2.00 | +2.50 | yes | - |" in table


def test_what_the_guard_makes_of_it_stands_beside(content: dict[str, Any]) -> None:
    """The one seed that it does not trust counts as linear."""
    for number, seed in enumerate(content["runs"]["tide"]["1min"]["plain"]["seeds"]):
        seed["familiar"] = {"unseen": {"coarser": 1.0, "disagreement": 0.94}}
        known = {"coarser": -1.5, "disagreement": 4.0 - 2 * number}
        seed["elsewhere"] = {"bores": {"test": {"network": 21.0 + number, "linear": 22.5, "familiar": known}}}
    table = render(content).split("## Trained on one family")[1].split("\n## ")[0]
    assert "| `plain`, trained on tide, 1min | +2.00 | **-1.00** → **-0.25** | no | no |" in table
    assert "| `plain`, trained on tide, 1min | +1.00, 0.9x | **-1.50, 4.0x** |" in table
    for seed in content["runs"]["tide"]["1min"]["plain"]["seeds"]:
        seed["elsewhere"]["bores"]["test"]["familiar"]["disagreement"] = 4.0
    table = render(content).split("## Trained on one family")[1].split("\n## ")[0]
    assert "| +2.00 | **-1.00** → +0.00 | no | yes |" in table


def test_neighbouring_frames_against_the_best_single_one(content: dict[str, Any]) -> None:
    def table() -> str:
        return render(content).split("## Gain from neighbouring frames")[1].split("\n## ")[0]

    assert "Not run yet." in table()
    runs = content["runs"]["tide"]
    for model, psnr in (("resnet", 33.0), ("stacked", 35.5), ("srnet3d", 31.0)):
        runs["1min"][model] = {"command": "c", "plan": [4, 10], "seeds": [one(psnr)]}
    assert "| tide | 1min | `resnet` +4.50 | `stacked` +7.00 | +2.50 |" in table()
    assert "| tide | 5min" not in table(), "one of the two is missing"
    runs["1min"]["stacked"]["seeds"] = [one(32.0)]
    assert "| tide | 1min | `resnet` +4.50 | `stacked` +3.50 | **-1.00** |" in table()


def test_movie_networks_are_known_as_such() -> None:
    def kind(model: str) -> str:
        cfg = compose_config("train", list(MODELS[model]))
        return build_network("model", cfg.model, build_from_node("recipe", cfg.recipe), scale=2, channels=1).kind

    assert [model for model in MODELS if kind(model) == "movie"] == list(MOVIES)


def test_photographs_have_the_gain_over_bicubic(content: dict[str, Any]) -> None:
    assert "Not run yet." in render(content).split("## Photographs")[1]
    content["baselines"]["photographs"] = {"test": {"bicubic": row(28.0), "linear": row(29.0)}}
    seeds = [{"seed": 0, "train_seconds": 1.0, "rows": {"test": row(31.5)}, "elsewhere": {}}]
    content["runs"]["photographs"] = {"1min": {"edsr": {"command": "c", "plan": [1, 1], "seeds": seeds}}}
    table = render(content).split("## Photographs")[1].split("\n## ")[0]
    assert "| `edsr` | 1min | 31.50 | +3.50 | +2.50 | 0.9000 |" in table
    assert "Not run: `fsrcnn`, `resnet` at 1min; 5min; 30min." in table
    assert "| `fsrcnn`" not in table
    assert "plain" not in table


def test_nothing_run_is_a_page_too(content: dict[str, Any]) -> None:
    content |= {
        "runs": {},
        "baselines": {},
        "protocols": {},
        "made": {},
        "costs": {"frame": None, "threads": None, "networks": {}},
    }
    text = render(content)
    assert "Nothing has been run yet" in text
    assert "../images" not in text
    assert "make leaderboard" in render_table(content)


def test_the_readme_has_a_row_per_network_that_was_run(content: dict[str, Any]) -> None:
    caption, _, *lines = render_table(content).splitlines()
    assert caption == "Data `climate-tide` at x2, 60 frames of the split `unseen`; up to 2 seeds."
    assert len(lines) == 2 + 2
    assert "| `plain` | fast | 7,700 | 120 | +2.00 | - |" in lines
    content["baselines"]["tide"]["unseen"]["linear"]["segments"] = 6
    for seed, ends in zip(content["runs"]["tide"]["1min"]["plain"]["seeds"], ([1.5, 2.5], [1.7, 2.9]), strict=True):
        seed["rows"]["unseen"]["gain_interval"] = ends
    caption, _, *lines = render_table(content).splitlines()
    assert caption.endswith(
        "60 frames of 6 trajectories of the split `unseen`; up to 2 seeds; in brackets, the 95% interval over the trajectories."
    )
    assert "| `plain` | fast | 7,700 | 120 | +2.00 [1.6, 2.7] | - |" in lines
    assert "| +2.00 [1.6, 2.7] |" in render(content)


def test_the_front_is_what_nothing_beats_in_both() -> None:
    points = [(10.0, 30.0, "a"), (5.0, 29.0, "b"), (5.0, 33.0, "c"), (1.0, 33.0, "d"), (0.5, 34.0, "e")]
    assert [label for *_, label in pareto_front(points)] == ["a", "c", "e"]


def test_figures_show_every_budget_and_network(content: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.leaderboard import figures

    drawn: list[Any] = []
    save = figures.save_figure
    monkeypatch.setattr(figures, "save_figure", lambda figure, path: (drawn.append(figure), save(figure, path)))
    draw_psnr_over_speed(Leaderboard(content), tmp_path / "speed.png")
    draw_psnr_over_budget(Leaderboard(content), tmp_path / "budget.png")
    speed, budget = (figure.axes[0] for figure in drawn)
    assert {text.get_text() for text in speed.texts} == {"edsr"}, "labels stand at the longest budget"
    assert {text.get_text() for text in speed.get_legend().get_texts()} == {"1min", "5min", "linear", "bicubic"}
    assert {text.get_text() for text in budget.get_legend().get_texts()} == {"plain", "edsr", "linear", "bicubic"}
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in ("speed.png", "budget.png"))


def test_dropped_ideas_say_what_sank_them() -> None:
    assert ideas.DROPPED
    for each in ideas.DROPPED:
        assert re.search(r"\d", each.figures)
        assert each.run.startswith("python ")
    assert sum(line.startswith("|") for line in ideas.dropped_ideas_table().splitlines()) == 2 + len(ideas.DROPPED)
