"""The page: one file, no network, nothing of a stranger's name but its letters."""

from __future__ import annotations

import base64
import hashlib
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from tests.evaluation.conftest import Written
from tests.evaluation.synthetic import NASTY, sample, scored
from vsr.evaluation.report.columns import column_blocks
from vsr.evaluation.report.page import EMBEDDED, Shown, report_page
from vsr.evaluation.report.write import write_report
from vsr.evaluation.rows import build_rows

VOID = {"meta", "img", "br", "hr", "input", "link", "source"}


class Parsed(HTMLParser):
    """Elements with their attributes and text; fails on a tag that is not closed in its turn."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.open: list[int] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(content)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs)
        self.elements.append((tag, dict(attrs)))
        self.texts.append("")
        if tag not in VOID:
            self.open.append(len(self.elements) - 1)

    def handle_endtag(self, tag: str) -> None:
        assert self.elements[self.open.pop()][0] == tag

    def handle_data(self, data: str) -> None:
        for at in self.open:
            self.texts[at] += data

    def all(self, tag: str) -> list[tuple[dict[str, str | None], str]]:
        return [(attrs, text) for (name, attrs), text in zip(self.elements, self.texts, strict=True) if name == tag]


@pytest.fixture(scope="module")
def content(written: Written) -> str:
    return (written.folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def parsed(content: str) -> Parsed:
    return Parsed(content)


def test_nothing_is_asked_of_a_network_or_another_file(content: str, parsed: Parsed) -> None:
    assert not re.search(r"https?://|//[a-z]+\.", re.sub(r"base64,[A-Za-z0-9+/=]+", "", content))
    for tag, attrs in parsed.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form")
        assert attrs.get("src", "data:").startswith("data:")
        assert attrs.get("href", "#").startswith("#")
        assert not set(attrs) & {"style", "srcset", "action", "poster", "background", "data"}
        assert not any(name.startswith("on") for name in attrs)
    assert "url(" not in content
    assert "@import" not in content


def test_the_policy_lets_in_data_and_the_own_style_and_script_only(parsed: Parsed) -> None:
    policy = next(attrs["content"] for attrs, _ in parsed.all("meta") if attrs.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == rules["media-src"] == "data:"
    for tag in ("script", "style"):
        [(_, text)] = parsed.all(tag)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[f"{tag}-src"] == f"'sha256-{digest}'"


def test_names_are_text_wherever_they_stand(content: str, parsed: Parsed) -> None:
    assert NASTY not in content
    assert "alert(" not in parsed.all("script")[0][1]
    assert "<i>" not in content
    heads = [text for attrs, text in parsed.all("th") if attrs.get("scope") == "row"]
    assert NASTY in heads
    assert "net, 'a' & \"b\"\ufffd#2" in heads
    assert f"vsr evaluate 'checkpoint={NASTY}'" in parsed.all("pre")[0][1]
    facts = [text for _, text in parsed.all("dd")]
    assert NASTY in facts
    assert "a/<b>.ckpt" in facts
    assert "cd" * 32 in facts
    assert NASTY in [text for _, text in parsed.all("dt")]


def test_tables_hold_the_numbers_of_the_rows(written: Written, parsed: Parsed) -> None:
    rows = build_rows(written.scored)
    cells = [(attrs, text) for attrs, text in parsed.all("td")]
    at = 0
    for block in sorted(column_blocks(rows), key=lambda block: block.title != "headline"):
        best = [column.best(rows) for column in block.columns]
        for i, row in enumerate(rows):
            for k, column in enumerate(block.columns):
                attrs, text = cells[at]
                assert attrs["data-value"] == ("" if row[column.key] is None else repr(row[column.key]))
                assert text.startswith(column.show(row[column.key]))
                assert (attrs.get("class") == "best") == best[k][i]
                assert ("[" in text) == (column.key in row["intervals"])
                at += 1
    assert at == len(cells)


def test_people_who_do_not_see_or_point_find_their_way(parsed: Parsed) -> None:
    assert parsed.all("html")[0][0]["lang"] == "en"
    assert all(attrs.get("alt") for attrs, _ in parsed.all("img"))
    assert all(attrs.get("aria-label") for attrs, _ in parsed.all("video"))
    assert all(attrs.get("scope") in ("col", "row", "rowgroup") for attrs, _ in parsed.all("th"))
    ids = {attrs["id"] for _, attrs in parsed.elements if "id" in attrs}
    assert {attrs["href"] for attrs, _ in parsed.all("a")} == {f"#{name}" for name in ids}
    titles = [attrs["title"] for attrs, _ in parsed.all("button")]
    assert "11x11 Gaussian, sigma 1.5, data range 1; higher is better" in titles
    texts = [text for _, text in parsed.all("dd")]
    assert any("mean |p - y|; 1 = the data range; lower is better (Wang & Bovik 2009)" in text for text in texts)
    assert all(attrs["tabindex"] == "0" for _, attrs in parsed.elements if attrs.get("class") == "scroll")


def test_figures_and_movies_in_the_page_are_those_beside_it(written: Written, parsed: Parsed) -> None:
    files = [path.read_bytes() for path in (written.folder / "figures").iterdir()]
    embedded = [attrs["src"] for attrs, _ in (*parsed.all("img"), *parsed.all("video"))]
    assert len(embedded) == len(files) == 8
    assert {base64.b64decode(source.partition(";base64,")[2]) for source in embedded} == set(files)
    for attrs, _ in parsed.all("video"):
        assert {"controls", "loop", "muted", "playsinline"} <= set(attrs)
        assert attrs["src"].startswith("data:video/mp4;base64,")
    players = [attrs for _, attrs in parsed.elements if attrs.get("class") == "player"]
    assert len(players) == len(parsed.all("video"))
    assert all("hidden" in attrs for attrs in players)  # until the script runs: without it, the movie has its own buttons
    assert {attrs["data-first"] for attrs in players} == {"40"}
    assert [attrs["max"] for attrs, _ in parsed.all("input")] == ["5"] * len(players)
    named = [text for _, text in parsed.all("figcaption")]
    assert all(any(f"figures/{path.name}" in text for text in named) for path in (written.folder / "figures").iterdir())


def test_what_would_make_the_page_too_large_is_named_instead() -> None:
    rows = build_rows(scored("test", methods=("bicubic",), segments=[3]))
    small = Shown("test", "figures/a.png", "image/png", b"a" * 1000, "a", "A.")
    large = small._replace(file="figures/b.png", content=b"b" * EMBEDDED, alt="a movie of test")
    text = report_page(rows, {}, [small, large, small._replace(file="figures/c.png")], command="c")
    assert len(text) < 100_000
    found = Parsed(text)
    assert len(found.all("img")) == 2
    assert any("a movie of test: figures/b.png, beside this page" in text for _, text in found.all("p"))


def test_a_movie_that_cannot_be_moved_through_has_no_slider() -> None:
    rows = build_rows(scored("test", methods=("bicubic",), segments=[3]))
    still = Shown("test", "figures/a.png", "image/png", b"a", "a movie of test", "A.")
    assert not Parsed(report_page(rows, {}, [still], command="c")).all("input")
    large = Shown("test", "figures/a.mp4", "video/mp4", b"a" * (EMBEDDED + 1), "a movie of test", "A.", (0, 9))
    assert not Parsed(report_page(rows, {}, [large], command="c")).all("input")


def test_where_the_numbers_come_from_is_folded_away_at_the_end(parsed: Parsed) -> None:
    assert [attrs["id"] for attrs, _ in parsed.all("section")][-1] == "compared"
    assert any(text == "Data, settings, checkpoints and versions" for _, text in parsed.all("summary"))
    assert not any("open" in attrs for attrs, _ in parsed.all("details"))


def test_colours_can_be_read(content: str) -> None:
    """WCAG 2: at least 4.5 between text and what is behind it, light and dark."""
    schemes = re.findall(r":root \{(.*?)\}", content, re.DOTALL)
    assert len(schemes) == 2
    for scheme in schemes:
        colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", scheme))

        def luminance(colour: str) -> float:
            channels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
            linear = np.where(channels <= 0.03928, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
            return float(linear @ [0.2126, 0.7152, 0.0722])

        pairs = [("text", "back"), ("text", "card"), ("text", "best"), ("muted", "back"), ("muted", "card"), ("link", "back")]
        for front, behind in pairs:
            light, dark = sorted((luminance(colours[front]), luminance(colours[behind])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (front, behind)


def test_without_av_and_pillow_the_page_says_how_to_get_a_movie(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def missing(frames: np.ndarray) -> bytes:
        raise ImportError("pillow")  # which matplotlib itself needs

    monkeypatch.setitem(sys.modules, "av", None)
    monkeypatch.setattr("vsr.evaluation.report.movie._animated_png", missing)
    write_report(
        tmp_path,
        scored("test", methods=("bicubic",), segments=[6]),
        [sample("test", methods=("bicubic",))],
        {},
        command="c",
        field=True,
    )
    found = Parsed((tmp_path / "report.html").read_text())
    assert not found.all("video")
    assert any(
        "test: no movie, as neither av nor pillow is installed; pip install 'vsr-movies[video]'" in text
        for _, text in found.all("p")
    )


def test_the_verdict_stands_first_and_in_words() -> None:
    row = {
        "split": "test",
        "method": "mine",
        "baseline": False,
        "frames": 80,
        "segments": 8,
        "parameters": 9,
        "train_seconds": 1.0,
    }
    row |= {"psnr": 40.0, "rmse": 0.1234, "vrmse": 0.006, "gain_bicubic": 6.3, "gain_linear": 4.4}
    protocol = {"data": {"units": "K", "sha256": "0" * 64}}
    text = report_page([row | {"intervals": {"gain_linear": [4.1, 4.8]}}], protocol, [], command="c")
    said = re.sub("<[^>]+>", "", text[text.index("In short</h2>") : text.index("Scores</h2>")])
    assert "mine beats bicubic by 6.3 dB and beats the best linear filter by 4.4 dB on test (80 frames of 8 movies)." in said
    assert "The 95% interval of the gain over the linear filter is +4.1 to +4.8 dB." in said
    assert "Its typical error (RMSE) is 0.123 K, 0.6 % of the spread of HR." in said
    assert text.index("In short</h2>") < text.index("Scores</h2>") < text.index("0" * 64)
    worse = report_page([row | {"gain_linear": -0.4, "segments": 2, "intervals": {}}], protocol, [], command="c")
    assert "is below the best linear filter by 0.4 dB" in worse
    assert "There is no interval: it takes" in worse
    assert "The linear filter is better and costs less; model=linear writes it as a checkpoint." in worse
