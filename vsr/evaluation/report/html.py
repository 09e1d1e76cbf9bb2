"""Self-contained HTML pages: one file that opens from disk, loads nothing and runs only its own script."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from html import escape
from typing import Any

from vsr.evaluation.report.escape import plain
from vsr.evaluation.report.page_style import SCRIPT, STYLE

Section = tuple[str, str, str]  # id, title, content


def document(title: str, heading: str, lead: str, sections: Sequence[Section], *, style: str = "") -> str:
    """Build a page.

    Its content security policy allows its own style and script, by their hashes, and data inside the page, nothing else.

    Args:
        title: any text.
        heading: HTML.
        lead: HTML below the heading.
        sections: id, title and content of each section as HTML; sections without content are left out.
        style: CSS after the common style.
    """
    sections = [section for section in sections if section[2]]
    links = "".join(f'<a href="#{key}">{name}</a> ' for key, name, _ in sections)
    body = "".join(f'<section id="{key}"><h2>{name}</h2>{content}</section>\n' for key, name, content in sections)
    style = STYLE + style
    policy = (
        f"default-src 'none'; img-src data:; media-src data:; style-src '{_hash(style)}'; script-src '{_hash(SCRIPT)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{one_line(title)}</title>\n"
        f"<style>{style}</style>\n</head>\n<body>\n<header><h1>{heading}</h1><p>{lead}</p>"
        f'<nav aria-label="Sections">{links}</nav></header>\n<main>\n{body}</main>\n<script>{SCRIPT}</script>\n</body>\n</html>\n'
    )


def one_line(value: Any) -> str:
    """Escape any value as one line of text."""
    return escape(plain(str(value)))


def embedded(media: str, content: bytes, alt: str) -> str:
    """Embed an image or a video in the page, in a region that scrolls; `alt` is any text."""
    source, alt = f"data:{media};base64,{base64.b64encode(content).decode()}", one_line(alt)
    if media.startswith("video/"):
        shown = f'<video controls loop muted playsinline preload="auto" aria-label="{alt}" src="{source}"></video>'
    else:
        shown = f'<img alt="{alt}" src="{source}">'
    return f'<div class="scroll" role="region" aria-label="{alt}" tabindex="0">{shown}</div>'


def _hash(content: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"
