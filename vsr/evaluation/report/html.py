"""Self-contained HTML pages with sortable tables: one file that loads nothing and runs only its own script."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from vsr.evaluation.report.page_style import SCRIPT, STYLE
from vsr.system.escape import escape_name

Section = tuple[str, str, str]  # id, title, content


def html_document(title: str, heading: str, lead: str, sections: Sequence[Section]) -> str:
    """Build a self-contained HTML page.

    The content security policy of the page allows only its own style and script, by their hashes, and data inside the page.

    Args:
        title: Title of the page, any text.
        heading: HTML of the heading.
        lead: HTML below the heading.
        sections: Id, title and content of each section as HTML; sections without content are left out.
    """
    sections = [section for section in sections if section[2]]
    links = "" if len(sections) < 2 else "".join(f'<a href="#{key}">{name}</a> ' for key, name, _ in sections)
    body = "".join(f'<section id="{key}"><h2>{name}</h2>{content}</section>\n' for key, name, content in sections)
    policy = (
        f"default-src 'none'; img-src data:; media-src data:; style-src '{html_policy_hash(STYLE)}'; "
        f"script-src '{html_policy_hash(SCRIPT)}'; base-uri 'none'; form-action 'none'"
    )
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html_one_line(title)}</title>\n"
        f"<style>{STYLE}</style>\n</head>\n<body>\n<header><h1>{heading}</h1><p>{lead}</p>"
        f'<nav aria-label="Sections">{links}</nav></header>\n<main>\n{body}</main>\n<script>{SCRIPT}</script>\n</body>\n</html>\n'
    )


def html_sortable_table(heads: Sequence[str], rows_of: Mapping[str, Sequence[str]], *, label: str, kind: str = "") -> str:
    """Build the HTML of a table in a region that scrolls; a click on a heading sorts the rows within each group.

    Args:
        heads: HTML of each heading, from `html_table_head`.
        rows_of: Title of a group of rows ("" for no title) -> HTML of each row, from `html_table_row`.
        label: Name of the region, any text.
        kind: A further CSS class of the table.
    """
    bodies = []
    for title, rows in rows_of.items():
        first = f'<tr class="split"><th scope="rowgroup" colspan="{len(heads)}">{html_one_line(title)}</th></tr>' if title else ""
        bodies.append(f"<tbody>{first}{''.join(rows)}</tbody>")
    return (
        f'<div class="scroll" role="region" aria-label="{html_one_line(label)}" tabindex="0"><table class="sortable {kind}">'
        f"<thead><tr>{''.join(heads)}</tr></thead>{''.join(bodies)}</table></div>"
    )


def html_table_head(text: str, *, high_first: bool = False, title: str = "") -> str:
    """Build the HTML of a heading that sorts on a click, descending first with `high_first`; `title` is shown on hover."""
    first = ' data-first="descending"' if high_first else ""
    return f'<th scope="col"{first}><button type="button" title="{html_one_line(title)}">{html_one_line(text)}</button></th>'


def html_table_row(name: str, cells: Iterable[str], *, baseline: bool = False) -> str:
    """Build the HTML of a table row from its name, any text, and its cells, which are HTML."""
    kind = ' class="baseline"' if baseline else ""
    return f'<tr{kind}><th scope="row" title="{html_one_line(name)}">{html_one_line(name)}</th>{"".join(cells)}</tr>'


def html_number_cell(value: float | None, shown: str, *, best: bool = False, interval: str = "") -> str:
    """Build the HTML of a table cell that displays `shown` and sorts by `value` in full precision."""
    kind, small = ' class="best"' if best else "", f"<small>{html_one_line(interval)}</small>" if interval else ""
    return f'<td{kind} data-value="{"" if value is None else repr(value)}">{html_one_line(shown)}{small}</td>'


def html_one_line(value: Any) -> str:
    """Format any value as one line of text, escaped for HTML."""
    return escape(escape_name(str(value)))


def html_embedded(media: str, content: bytes, alt: str) -> str:
    """Build the HTML of an image or video inside the page, in a region that scrolls; `alt` is its description."""
    source, alt = f"data:{media};base64,{base64.b64encode(content).decode()}", html_one_line(alt)
    if media.startswith("video/"):
        shown = f'<video controls loop muted playsinline preload="auto" aria-label="{alt}" src="{source}"></video>'
    else:
        shown = f'<img alt="{alt}" src="{source}">'
    return f'<div class="scroll" role="region" aria-label="{alt}" tabindex="0">{shown}</div>'


def html_player(first: int, count: int, rate: int) -> str:
    """Build the HTML of a button and a slider for the movie of the same figure; it stays hidden where scripts do not run.

    Args:
        first: Number of the first frame.
        count: Number of frames.
        rate: Frames per second.
    """
    return (
        f'<div class="player" data-first="{first}" data-rate="{rate}" hidden>'
        '<button type="button" title="play or stop the movie">play</button>'
        f'<input type="range" min="0" max="{count - 1}" value="0" aria-label="frame of the movie">'
        f"<span>frame <output>{first}</output> of the split</span></div>"
    )


def html_policy_hash(content: str) -> str:
    """Return the hash of a style or a script, as a content security policy names it."""
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"
