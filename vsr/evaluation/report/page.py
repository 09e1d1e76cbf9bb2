"""The page report.html: protocol, tables, figures and definitions of an evaluation in one self-contained file.

Names and paths come from other people's files, so every text is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

from vsr.evaluation.report.columns import Column, ColumnBlock, column_blocks
from vsr.evaluation.report.html import (
    html_document,
    html_embedded,
    html_number_cell,
    html_one_line,
    html_player,
    html_sortable_table,
    html_table_head,
    html_table_row,
)
from vsr.evaluation.report.movie import RATE
from vsr.evaluation.report.tables import INTERVALS
from vsr.evaluation.rows import Row
from vsr.metrics.headline import headline_verdict
from vsr.metrics.intervals import MIN_SEGMENTS
from vsr.metrics.variables import table_part
from vsr.system.escape import escape_name

EMBEDDED = 3_600_000  # bytes of figures and movies in the page; in base64 they take a third more
_OPEN = 14  # facts that a card shows at once
_TITLES = {"headline": "Headline scores", "error": "Error", "structure": "Structure", "spectrum": "Spectrum"}
_TITLES |= {"physics": "Physics", "extremes": "Extremes", "time": "Motion in time"}


class Shown(NamedTuple):
    """A figure or movie of a split.

    Attributes:
        split: Name of the split.
        file: Name of the file beside the page.
        media: Media type, such as "image/png".
        content: Bytes of the file.
        alt: Alternative text.
        caption: Text below the figure.
        frames: (first, count) of the frames of a movie, for its slider; None for figures, and for movies without a slider.
    """

    split: str
    file: str
    media: str
    content: bytes
    alt: str
    caption: str
    frames: tuple[int, int] | None = None


def report_page(
    rows: Sequence[Row],
    protocol: Mapping[str, Any],
    shown: Sequence[Shown],
    *,
    command: str,
    notes: Sequence[str] = (),
    pairs: Sequence[str] = (),
) -> str:
    """Build the HTML of report.html.

    Args:
        rows: Rows of the results table.
        protocol: Data and settings of the scores.
        shown: Figures and movies.
        command: Command that reproduces the report.
        notes: Why movies are missing.
        pairs: Sentences that compare two methods each.
    """
    found = column_blocks(rows)
    names = list(dict.fromkeys(map(table_part, rows)))
    methods = list(dict.fromkeys(row["method"] for row in rows if not row["baseline"]))
    lead = f"{_list(methods) or 'Baselines'} on {_list(names)}, every row on the same frames and pixels."
    sections = [
        ("verdict", "In short", _verdicts(rows, protocol, pairs)),
        ("figures", "Figures", _figures(names, shown, notes)),
        ("scores", "Scores", _tables(found[:1]) + _legend()),
        ("further", "Further scores", _tables(found[1:])),
        ("definitions", "Definitions", _definitions(found)),
        ("again", "How to reproduce", _reproduction(command)),
        ("compared", "What was compared", _folded("Data, settings, checkpoints and versions", _protocol(protocol))),
    ]
    return html_document(f"Scores on {', '.join(names)}", "Super-resolution scores", lead, sections)


def _verdicts(rows: Sequence[Row], protocol: Mapping[str, Any], pairs: Sequence[str]) -> str:
    """Build the HTML of a sentence for each network and part of the table (gains, interval, error), and each of `pairs`."""
    data = protocol.get("data")
    units = data.get("units") if isinstance(data, Mapping) else None
    safe = [{key: html_one_line(value) if isinstance(value, str) else value for key, value in row.items()} for row in rows]
    unit = html_one_line(units) if isinstance(units, str) else ""
    lines = [headline_verdict(row, safe, unit, mark="<b>{}</b>") for row in safe if not row["baseline"]]
    lines += [f"{html_one_line(text)}." for text in pairs]
    return f"<ul>{''.join(f'<li>{line}</li>' for line in lines)}</ul>" if lines else ""


def _folded(title: str, content: str) -> str:
    return f"<details><summary>{html_one_line(title)}</summary>{content}</details>"


def _list(names: Sequence[str]) -> str:
    return ", ".join(f"<b>{html_one_line(name)}</b>" for name in names)


def _tables(found: Sequence[ColumnBlock]) -> str:
    """Build HTML with one table per block of scores; tables stand side by side if the page is wide enough."""
    return f'<div class="tables">{"".join(f"<div>{_table(block)}</div>" for block in found)}</div>' if found else ""


def _table(block: ColumnBlock) -> str:
    title, rows = _TITLES.get(block.title, block.title), block.rows
    best = {column: column.best(rows) for column in block.columns}
    heads = [html_table_head("method", title="sort by name")]
    heads += [html_table_head(c.heading(), high_first=c.better == "high", title=c.explained()) for c in block.columns]
    groups: dict[str, list[str]] = {}
    for split in dict.fromkeys(map(table_part, rows)):
        at = [i for i, row in enumerate(rows) if table_part(row) == split]
        frames, segments = rows[at[0]]["frames"], rows[at[0]]["segments"]
        size = f"{frames} frame{'s' * (frames != 1)} of {segments} movie{'s' * (segments != 1)}"
        groups[f"{split}: {size}"] = [
            html_table_row(
                rows[i]["method"], [_cell(c, rows[i], best[c][i]) for c in block.columns], baseline=rows[i]["baseline"]
            )
            for i in at
        ]
    return f"<h3>{html_one_line(title)}</h3>{html_sortable_table(heads, groups, label=title)}"


def _cell(column: Column, row: Row, best: bool) -> str:
    value = row[column.key]
    return html_number_cell(value, column.show(value), best=best, interval=column.interval(row))


def _legend() -> str:
    return (
        f'<p class="muted">Tinted and bold: best of the split. {html_one_line(INTERVALS.capitalize())}; none with fewer than '
        f"{MIN_SEGMENTS} movies. A click on a heading sorts within each split; headings explain themselves when "
        "pointed at.</p>"
    )


def _protocol(protocol: Mapping[str, Any]) -> str:
    """Build the HTML of the protocol: a card (a box of facts) for each nested value, and one for all plain values."""
    plain_facts = {key: value for key, value in protocol.items() if not _nested(value)}
    cards = [_card("protocol", [_facts(plain_facts)])] if plain_facts else []
    for key, value in protocol.items():
        if isinstance(value, Mapping):
            cards.append(_card(str(key), [_facts(value)]))
        elif _nested(value):
            cards.append(_card(str(key), [_facts(one if isinstance(one, Mapping) else {"": one}) for one in value]))
    return f'<div class="cards">{"".join(cards)}</div>' if cards else ""


def _nested(value: Any) -> bool:
    """Return True if a value of the protocol is nested, so that it gets its own card (a box of facts)."""
    listed = isinstance(value, list | tuple) and any(isinstance(one, Mapping | list | tuple) for one in value)
    return isinstance(value, Mapping) or listed


def _facts(value: Any, path: str = "") -> list[tuple[str, str]]:
    """Flatten nested plain values to (name, text) pairs; nested names are joined by dots."""
    if isinstance(value, Mapping):
        inside = [_facts(inner, f"{path}.{key}" if path else str(key)) for key, inner in value.items()]
        return [fact for facts in inside for fact in facts]
    if isinstance(value, list | tuple):
        if any(isinstance(one, Mapping) for one in value):
            return [fact for i, one in enumerate(value) for fact in _facts(one, f"{path}[{i}]")]
        return [(path, ", ".join(str(one) for one in value) or "none")]
    return [(path, "-" if value is None else str(value))]


def _card(title: str, groups: Sequence[Sequence[tuple[str, str]]]) -> str:
    lists = "".join(
        f"<dl>{''.join(f'<dt>{html_one_line(name)}</dt><dd>{html_one_line(value)}</dd>' for name, value in facts)}</dl>"
        for facts in groups
        if facts
    )
    if sum(len(facts) for facts in groups) > _OPEN:
        return f'<details class="card"><summary>{html_one_line(title)}</summary>{lists}</details>'
    return f'<div class="card"><h3>{html_one_line(title)}</h3>{lists}</div>'


def _figures(names: Sequence[str], shown: Sequence[Shown], notes: Sequence[str]) -> str:
    """Build the HTML of the figures of each split; figures that would make the page too large are only named."""
    left, parts = EMBEDDED, [f'<p class="muted">{html_one_line(note)}</p>' for note in notes]
    for split in names:
        own = [one for one in shown if one.split == split]
        parts += [f"<h3>{html_one_line(split)}</h3>"] if own else []
        for one in own:
            fits = len(one.content) <= left
            left -= len(one.content) * fits
            parts.append(
                _figure(one)
                if fits
                else f"<p>{html_one_line(one.alt)}: <code>{html_one_line(one.file)}</code>, beside this page</p>"
            )
    return "".join(parts)


def _figure(one: Shown) -> str:
    caption = f"{html_one_line(one.caption)} <code>{html_one_line(one.file)}</code>"
    player = html_player(*one.frames, RATE) if one.frames else ""
    return f"<figure>{html_embedded(one.media, one.content, one.alt)}{player}<figcaption>{caption}</figcaption></figure>"


def _definitions(found: Sequence[ColumnBlock]) -> str:
    terms = "".join(
        f"<dt>{html_one_line(column.label)}</dt><dd>{html_one_line(column.explained())}{_source(column)}</dd>"
        for block in found
        for column in block.columns
    )
    return f'<p class="muted">p is the prediction of a method, y the truth (HR), x LR.</p><dl class="terms">{terms}</dl>'


def _source(column: Column) -> str:
    return "" if column.source == "-" else f' <span class="muted">({html_one_line(column.source)})</span>'


def _reproduction(command: str) -> str:
    lines = "\n".join(escape(escape_name(line)) for line in command.splitlines())
    return (
        f"<pre><code>{lines}</code></pre>"
        "<p>Beside this page: <code>results.json</code> (these rows, and how each mean is taken), "
        "<code>frames.csv</code> and <code>segments.csv</code> (the scores of every frame and every movie), for pairs "
        "<code>lead_time.csv</code> (the scores over lead time), <code>table.md</code>, "
        "<code>table.tex</code> and the figures.</p>"
    )
