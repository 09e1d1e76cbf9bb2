"""Registry of the array formats, and the format that docs/guides/adding-a-format.md adds."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from tests.fakes import ROOT
from vsr.errors import UserError
from vsr.io.formats import FORMATS, Format, format_of_output, load_format_writer
from vsr.io.readers.open import open_listing, open_movie
from vsr.io.writers.base import ArrayWriter
from vsr.io.writers.open import open_array_sink
from vsr.io.writers.template_from_movie import template_from_movie


def test_classes_are_called_like_their_lines() -> None:
    for name, entry in FORMATS.items():
        reader, writer = entry.load_reader(), entry.load_writer()
        assert reader.name == name
        if name == "grib":  # is only read
            assert writer is None
            continue
        assert isinstance(writer, ArrayWriter)
        assert writer.name == name
        assert set(writer.suffixes) <= set(reader.suffixes)
        assert {format_of_output(Path(f"a{suffix}")) for suffix in writer.suffixes} == {name}


def test_a_format_without_a_writer_is_only_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FORMATS, "npy", Format(FORMATS["npy"].reader))
    with pytest.raises(UserError, match=r"a.npy: its ending names no format that is written; type output=NAME with .*\.npz"):
        format_of_output(Path("a.npy"))
    with pytest.raises(ValueError, match="npy"):
        load_format_writer("npy")


@pytest.fixture
def grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the format of the guide, with the text of the guide."""
    text = (ROOT / "docs" / "guides" / "adding-a-format.md").read_text()
    reader, writer, line = re.findall(r"```python\n(.*?)```", text, re.S)
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "guide_grid_reader.py").write_text(reader)
    (modules / "guide_grid_writer.py").write_text(writer)
    monkeypatch.syspath_prepend(str(modules))
    line = line.replace("vsr.io.readers.grid", "guide_grid_reader").replace("vsr.io.writers.grid", "guide_grid_writer")
    for name, entry in eval(f"{{{line}}}", {"Format": Format}).items():
        monkeypatch.setitem(FORMATS, name, entry)


@pytest.mark.usefixtures("grid")
@pytest.mark.parametrize(("axes", "shape"), [("tyx", (6, 4, 5)), ("yxt", (4, 5, 6)), ("nctyx", (2, 3, 6, 4, 5))])
def test_the_format_of_the_guide_is_read_and_written(axes: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    values = np.random.default_rng(0).random(shape, np.float32)
    np.save(tmp_path / "a.npy", values)
    movie = open_movie(tmp_path / "a.npy", variable=None, axes=axes)
    template = template_from_movie(open_movie(tmp_path / "a.npy", variable=None, axes=axes), 1, suffix=".grid")
    assert template.notes == ("NumPy .npy becomes Grid",)
    with open_array_sink(tmp_path / "b.grid", template, identity={}) as sink:
        for number in range(movie.shape[0]):
            sink.write(sink.done, movie.read(number, 0, 6).swapaxes(0, 1))
        sink.finish()
    assert open_listing(tmp_path / "b.grid").format == "Grid"
    found = open_movie(tmp_path / "b.grid", variable=None, axes=None)
    assert (found.axes, found.shape) == (axes, movie.shape)
    np.testing.assert_array_equal(found.read(0, 1, 5), movie.read(0, 1, 5))
    finer = template_from_movie(open_movie(tmp_path / "b.grid", variable=None, axes=None), 3)
    assert (finer.format, finer.names, finer.notes) == ("grid", ("grid",), ())


@pytest.mark.usefixtures("grid")
@pytest.mark.parametrize("content", [b"GRID tyx 6 4 5\nshort", b"GRID tyx 6 -4 -5\n", b"GRID tyx a b c\n", b"GRID tyx\n"])
def test_damage_in_the_format_of_the_guide_is_a_user_error(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.grid").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.grid"):
        open_movie(tmp_path / "a.grid", variable=None, axes=None)
