"""Settings of Sphinx for the site of vsr: `make docs`."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from vsr.version import __version__ as release  # noqa: E402, F401

project, author = "vsr", "the vsr developers"
copyright = f"2026, {author}"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "generated", "notebooks"]
source_suffix = {".md": "markdown", ".ipynb": "notebook"}
exclude_patterns = ["site", "guides/*.ipynb", "README.md", "Thumbs.db"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4
nitpicky = False
html_theme = "furo"
html_title = "vsr"
html_copy_source = False
html_show_sourcelink = False
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
napoleon_numpy_docstring = False
