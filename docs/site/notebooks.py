"""Notebooks of the gallery: they run without Jupyter, keep what they show, and are pages of the site.

`python docs/site/notebooks.py docs/gallery/*.ipynb` runs notebooks, each in an empty folder, and stores their outputs in them.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import json
import re
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import Any

from myst_parser.parsers.sphinx_ import MystParser

DPI = 72  # of the pictures in a notebook
COLOURS = 256  # of each of them
COLUMNS = 76  # of a command on a page


def run_notebook(content: dict[str, Any]) -> None:
    """Run the cells of a notebook in the working directory, and put what they show in place of their outputs.

    A cell shows what it prints, the value of its last line unless that ends with a semicolon, and its matplotlib figures. A cell
    that begins with "!" is a command of the shell, where `vsr` is the vsr of this Python.

    Args:
        content: The notebook, as `json.load` returns it.
    """
    import matplotlib

    matplotlib.use("Agg")
    names: dict[str, Any] = {"_command": _command}
    for cell in content["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"] = _run_cell("".join(cell["source"]), names)


def _run_cell(source: str, names: dict[str, Any]) -> list[dict[str, Any]]:
    """Run the source of a cell with the variables `names`; return its outputs as a notebook stores them."""
    from matplotlib import pyplot

    tree = ast.parse(re.sub(r"^!(.*)$", lambda found: f"_command({found[1]!r})", source, flags=re.M))
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) and not source.rstrip().endswith(";") else None
    value, printed = None, io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, "cell", "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    outputs: list[dict[str, Any]] = []
    if text := printed.getvalue():
        outputs.append({"output_type": "stream", "name": "stdout", "text": text.splitlines(keepends=True)})
    if value is not None:
        outputs.append(_output({"text/plain": repr(value).splitlines(keepends=True)}))
    figures = [_png(pyplot.figure(number)) for number in pyplot.get_fignums()]
    outputs += [_output({"image/png": png, "text/plain": ["a figure"]}) for png in figures]
    pyplot.close("all")
    return outputs


def _output(data: dict[str, Any]) -> dict[str, Any]:
    return {"output_type": "display_data", "metadata": {}, "data": data}


def _png(figure: Any) -> str:
    """Return a figure as PNG with few colours, in base64."""
    from PIL import Image

    drawn, written = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, dpi=DPI)
    Image.open(drawn).convert("RGB").quantize(COLOURS, Image.Quantize.MAXCOVERAGE).save(written, "PNG", optimize=True)
    return base64.b64encode(written.getvalue()).decode()


def _command(line: str) -> None:
    """Run a command of the shell and print what it prints. Raises RuntimeError with its messages if it fails."""
    line = re.sub(r"^\s*vsr ", lambda _: f'"{sys.executable}" -m vsr ', line)
    done = subprocess.run(line, shell=True, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{line}: {done.stdout}{done.stderr}")
    print(done.stdout, end="")


def notebook_as_markdown(text: str) -> str:
    """Return the text of a notebook as MyST Markdown, with the outputs of its cells below them."""
    parts = []
    for cell in json.loads(text)["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        if source.startswith("!"):
            lines = textwrap.wrap(source[1:], COLUMNS, break_long_words=False, break_on_hyphens=False)
            parts.append("```\n" + " \\\n    ".join(lines) + "\n```")
        else:
            parts.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            data = output.get("data", {})
            if "image/png" in data:
                parts.append(f"![what the cell shows](data:image/png;base64,{data['image/png']})")
            else:
                parts.append("```text\n" + "".join(output.get("text") or data["text/plain"]).rstrip() + "\n```")
    return "\n\n".join(parts) + "\n"


class NotebookParser(MystParser):
    """Parser of notebooks for Sphinx."""

    supported = ("notebook",)

    def parse(self, inputstring: str, document: Any) -> None:
        super().parse(notebook_as_markdown(inputstring), document)


def setup(app: Any) -> dict[str, bool]:
    """Let Sphinx read notebooks."""
    app.add_source_parser(NotebookParser)
    return {"parallel_read_safe": True}


def main(paths: list[str]) -> None:
    """Run notebooks and store their outputs in them."""
    for path in map(Path, paths):
        path, content = path.resolve(), json.loads(path.read_text(encoding="utf-8"))
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            run_notebook(content)
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
