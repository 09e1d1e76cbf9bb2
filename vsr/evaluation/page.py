"""report.html: everything in one file that opens from disk, asks no network for anything and runs nothing but its own lines.

Names and paths come from other people's files, so every text is escaped; the page's policy names the hashes of its style and
its script, and lets nothing else in but data inside the page.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

from vsr.evaluation.columns import Block, Column, blocks
from vsr.evaluation.page_style import SCRIPT, STYLE
from vsr.evaluation.rows import Row
from vsr.evaluation.table import INTERVALS, plain

EMBEDDED = 3_600_000  # bytes of figures and movies in the page; in base64 they take a third more
_OPEN = 14  # facts that a card shows at once
_TITLES = {"headline": "Headline scores", "error": "Error", "structure": "Structure", "spectrum": "Spectrum"}
_TITLES |= {"physics": "Physics", "extremes": "Extremes", "time": "Motion in time"}


class Shown(NamedTuple):
    """A figure or movie of a split: its file beside the page, media type and content; what it shows, in a word and in full."""

    split: str
    file: str
    media: str
    content: bytes
    alt: str
    caption: str


def page(
    rows: Sequence[Row], protocol: Mapping[str, Any], shown: Sequence[Shown], *, command: str, notes: Sequence[str] = ()
) -> str:
    """The page as text. `protocol` may nest plain values in any way; `notes` are lines on what is not there, and why."""
    found = blocks(rows)
    names = list(dict.fromkeys(row["split"] for row in rows))
    methods = list(dict.fromkeys(row["method"] for row in rows if not row["baseline"]))
    lead = f"{_list(methods) or 'Baselines'} on {_list(names)}, every row on the same frames and pixels."
    sections = [
        ("compared", "What was compared", _protocol(protocol)),
        ("scores", "Scores", _tables(found[:1]) + _legend()),
        ("figures", "Figures", _figures(names, shown, notes)),
        ("further", "Further scores", _tables(found[1:])),
        ("definitions", "Definitions", _definitions(found)),
        ("again", "How to reproduce", _again(command)),
    ]
    sections = [section for section in sections if section[2]]
    links = "".join(f'<a href="#{key}">{title}</a> ' for key, title, _ in sections)
    body = "".join(f'<section id="{key}"><h2>{title}</h2>{content}</section>\n' for key, title, content in sections)
    policy = (
        f"default-src 'none'; img-src data:; media-src data:; style-src '{_hash(STYLE)}'; script-src '{_hash(SCRIPT)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Scores on {_text(', '.join(names))}</title>\n"
        f"<style>{STYLE}</style>\n</head>\n<body>\n<header><h1>Super-resolution scores</h1><p>{lead}</p>"
        f'<nav aria-label="Sections">{links}</nav></header>\n<main>\n{body}</main>\n<script>{SCRIPT}</script>\n</body>\n</html>\n'
    )


def _text(value: Any) -> str:
    """Anything as one line of escaped text."""
    return escape(plain(str(value)))


def _list(names: Sequence[str]) -> str:
    return ", ".join(f"<b>{_text(name)}</b>" for name in names)


def _hash(content: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"


def _tables(found: Sequence[Block]) -> str:
    """As many side by side as there is room for."""
    return f'<div class="tables">{"".join(f"<div>{_table(block)}</div>" for block in found)}</div>' if found else ""


def _table(block: Block) -> str:
    title = _TITLES.get(block.title, block.title)
    rows = block.rows
    best = {column: column.best(rows) for column in block.columns}
    heads = '<th scope="col"><button type="button" title="sort by name">method</button></th>' + "".join(map(_head, block.columns))
    bodies = []
    for split in dict.fromkeys(row["split"] for row in rows):
        at = [i for i, row in enumerate(rows) if row["split"] == split]
        frames, segments = rows[at[0]]["frames"], rows[at[0]]["segments"]
        size = f"{frames} frame{'s' * (frames != 1)} in {segments} segment{'s' * (segments != 1)}"
        first = f'<tr class="split"><th scope="rowgroup" colspan="{len(block.columns) + 1}">{_text(split)}: {size}</th></tr>'
        lines = []
        for i in at:
            kind = ' class="baseline"' if rows[i]["baseline"] else ""
            name = _text(rows[i]["method"])
            cells = "".join(_cell(column, rows[i], best[column][i]) for column in block.columns)
            lines.append(f'<tr{kind}><th scope="row" title="{name}">{name}</th>{cells}</tr>')
        bodies.append(f"<tbody>{first}{''.join(lines)}</tbody>")
    return (
        f'<h3>{_text(title)}</h3><div class="scroll" role="region" aria-label="{_text(title)}" tabindex="0">'
        f'<table class="sortable"><thead><tr>{heads}</tr></thead>{"".join(bodies)}</table></div>'
    )


def _head(column: Column) -> str:
    first = "descending" if column.better == "high" else "ascending"
    title = _text(column.explained())
    return f'<th scope="col" data-first="{first}"><button type="button" title="{title}">{_text(column.heading())}</button></th>'


def _cell(column: Column, row: Row, best: bool) -> str:
    value, interval = row[column.key], column.interval(row)
    small = f"<small>{_text(interval)}</small>" if interval else ""
    kind = ' class="best"' if best else ""
    return f'<td{kind} data-value="{"" if value is None else repr(value)}">{_text(column.show(value))}{small}</td>'


def _legend() -> str:
    return (
        f'<p class="muted">Tinted and bold: best of the split. {_text(INTERVALS.capitalize())}; none with fewer than three '
        "segments, too narrow with few. A click on a heading sorts within each split; headings explain themselves when "
        "pointed at.</p>"
    )


def _protocol(protocol: Mapping[str, Any]) -> str:
    """A card for what has parts, and one for all that has none."""
    plain_facts = {key: value for key, value in protocol.items() if not _nested(value)}
    cards = [_card("protocol", [_facts(plain_facts)])] if plain_facts else []
    for key, value in protocol.items():
        if isinstance(value, Mapping):
            cards.append(_card(str(key), [_facts(value)]))
        elif _nested(value):
            cards.append(_card(str(key), [_facts(one if isinstance(one, Mapping) else {"": one}) for one in value]))
    return f'<div class="cards">{"".join(cards)}</div>' if cards else ""


def _nested(value: Any) -> bool:
    """Whether it is shown as a card of its own."""
    listed = isinstance(value, list | tuple) and any(isinstance(one, Mapping | list | tuple) for one in value)
    return isinstance(value, Mapping) or listed


def _facts(value: Any, path: str = "") -> list[tuple[str, str]]:
    """Nested plain values as (name, text), names of what is inside joined by dots."""
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
        f"<dl>{''.join(f'<dt>{_text(name)}</dt><dd>{_text(value)}</dd>' for name, value in facts)}</dl>"
        for facts in groups
        if facts
    )
    if sum(len(facts) for facts in groups) > _OPEN:
        return f'<details class="card"><summary>{_text(title)}</summary>{lists}</details>'
    return f'<div class="card"><h3>{_text(title)}</h3>{lists}</div>'


def _figures(names: Sequence[str], shown: Sequence[Shown], notes: Sequence[str]) -> str:
    """Per split; what would make the page too large is named instead."""
    left, parts = EMBEDDED, [f'<p class="muted">{_text(note)}</p>' for note in notes]
    for split in names:
        own = [one for one in shown if one.split == split]
        parts += [f"<h3>{_text(split)}</h3>"] if own else []
        for one in own:
            fits = len(one.content) <= left
            left -= len(one.content) * fits
            parts.append(_figure(one) if fits else f"<p>{_text(one.alt)}: <code>{_text(one.file)}</code>, beside this page</p>")
    return "".join(parts)


def _figure(one: Shown) -> str:
    source, alt = f"data:{one.media};base64,{base64.b64encode(one.content).decode()}", _text(one.alt)
    if one.media.startswith("video/"):
        content = f'<video controls loop muted playsinline preload="auto" aria-label="{alt}" src="{source}"></video>'
    else:
        content = f'<img alt="{alt}" src="{source}">'
    label = f'role="region" aria-label="{alt}" tabindex="0"'
    caption = f"{_text(one.caption)} <code>{_text(one.file)}</code>"
    return f'<figure><div class="scroll" {label}>{content}</div><figcaption>{caption}</figcaption></figure>'


def _definitions(found: Sequence[Block]) -> str:
    terms = "".join(
        f"<dt>{_text(column.label)}</dt><dd>{_text(column.explained())}{_source(column)}</dd>"
        for block in found
        for column in block.columns
    )
    return f'<p class="muted">p is what a method gave, y the truth (HR), x LR.</p><dl class="terms">{terms}</dl>'


def _source(column: Column) -> str:
    return "" if column.source == "-" else f' <span class="muted">({_text(column.source)})</span>'


def _again(command: str) -> str:
    lines = "\n".join(escape(plain(line)) for line in command.splitlines())
    return (
        f"<pre><code>{lines}</code></pre>"
        "<p>Beside this page: <code>results.json</code> (these rows, and how each mean is taken), "
        "<code>frames.csv</code> and <code>segments.csv</code> (every score they were taken from), <code>table.md</code>, "
        "<code>table.tex</code> and the figures.</p>"
    )
