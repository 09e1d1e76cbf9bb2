"""The site of the documentation: built without a warning, with every page, command and key."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tests.fakes import ROOT
from tests.processes import run_process
from vsr.__main__ import COMMANDS
from vsr.commands import docs

pytest.importorskip("sphinx")
pytest.importorskip("furo")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, made from a copy of the pages: the build writes some pages beside the others."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("docs", "vsr", "conf"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("generated", "__pycache__"))
    shutil.copy(ROOT / "CONTRIBUTING.md", folder)
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-W", "--keep-going", "-q", "-c", "docs/site", "docs", "build/site"]
    done = run_process(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not done.stderr.strip()
    return folder / "build" / "site"


def test_every_page_is_there(site: Path) -> None:
    pages = [path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")]
    made = [path for path in pages if path.name != "README.md" and "generated" not in path.parts]
    assert len(made) > 60
    assert not [path for path in made if not (site / path).with_suffix(".html").is_file()]


def test_the_gallery_shows_what_its_cells_show(site: Path) -> None:
    home = (site / "index.html").read_text(encoding="utf-8")
    for path in (ROOT / "docs" / "gallery").glob("*.ipynb"):
        page = (site / "gallery" / f"{path.stem}.html").read_text(encoding="utf-8")
        assert 'src="data:image/png;base64,' in page
        assert f'href="gallery/{path.stem}.html"' in home
    page = (site / "gallery" / "plugin.html").read_text(encoding="utf-8")
    assert "dB,   740 parameters" in page  # what a cell printed
    assert "!vsr" not in page  # a command is shown as one types it


def test_every_command_key_and_config_is_explained(site: Path) -> None:
    commands = (site / "reference" / "generated" / "commands.html").read_text(encoding="utf-8")
    assert all(f">vsr {name}<" in commands for name in COMMANDS)
    keys = (site / "reference" / "generated" / "keys.html").read_text(encoding="utf-8")
    assert all(f">{key}<" in keys for key in ("budget", "workers", "checkpoint", "consistency"))
    configs = (site / "reference" / "generated" / "configs.html").read_text(encoding="utf-8")
    for path in (ROOT / "conf").glob("*/*.yaml"):
        if path.parent.name not in ("hydra", "callbacks", "hardware"):
            assert f"{path.parent.name}={path.stem}<" in configs, path


def test_vsr_docs_opens_the_site(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr(docs, "SITE", tmp_path / "index.html")
    with pytest.raises(docs.UserError, match="type make docs"):
        docs.docs_command([])
    (tmp_path / "index.html").touch()
    docs.docs_command([])
    assert opened == [(tmp_path / "index.html").as_uri()]
    assert opened[0] in capsys.readouterr().out
