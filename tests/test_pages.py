"""Commands of README and docs: each is run here in a shortened form, or its page says what it needs.

A page is run from top to bottom in an empty folder. Files that it names are made when a command first names them
(`tests/stand_ins.py`). Trainings take two steps on small data; everything else is as typed. `make test` runs what takes seconds,
`make test-all` every page.
"""

from __future__ import annotations

import doctest
import json
import os
import re
import shlex
import shutil
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vsr
from tests.fakes import ROOT, SMALL
from tests.processes import run_process
from tests.stand_ins import EXPERIMENTS, FILES, GENERATED, SHORT, Trained, waves, write_netcdf, write_pair_side
from tests.warm import Warm
from vsr.commands.app import _quote_paths
from vsr.config import CONF
from vsr.config.compose import Composer
from vsr.config.overrides import options_before_overrides
from vsr.config.plugins import split_plugin_folder, take_plugins
from vsr.errors import UserError

xarray = pytest.importorskip("xarray")
for package in ("h5netcdf", "zarr", "dask", "av", "PIL", "skimage"):
    pytest.importorskip(package)

DOCS = ROOT / "docs"
PAGES = {
    str(page.relative_to(ROOT)): page
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
    if "generated" not in page.parts
}
# Pages whose commands made figures of the past: they take minutes to hours, and name files and networks that may be gone.
RECORDS = re.compile(r"docs/(design|results)/(?!report)")
# What another module runs: by page and beginning, the module and a text in it that says so.
PLUGINS = "tests/config/test_plugins.py"
EARTH = ("tests/test_earth_guide.py", "earth-fields.md")
ELSEWHERE = {
    ("README.md", "pip "): ("tests/commands/test_wheel.py", '"pip", "wheel"'),
    ("docs/start.md", "pip "): ("tests/commands/test_wheel.py", '"pip", "wheel"'),
    ("CONTRIBUTING.md", "python docs/site/notebooks.py"): ("tests/test_gallery.py", "notebooks.py"),
    ("docs/guides/adding-a-dataset.md", '"""'): (PLUGINS, "adding-a-dataset"),
    ("docs/guides/adding-a-model.md", "from torch"): (PLUGINS, "adding-a-model"),
    ("docs/guides/adding-a-model.md", "vsr train model=mynet"): (PLUGINS, "adding-a-model"),
    ("docs/guides/adding-a-format.md", '"'): ("tests/io/test_formats.py", "adding-a-format.md"),
    ("docs/guides/archives.md", "import xarray"): ("tests/test_archives_guide.py", "archives.md"),
    ("docs/guides/earth-fields.md", "vsr train preset"): EARTH,
    ("docs/guides/earth-fields.md", "vsr train data=climate data.path=era5.nc"): EARTH,
    ("docs/guides/earth-fields.md", "vsr evaluate"): EARTH,
    ("docs/guides/earth-fields.md", "vsr upscale"): EARTH,
    ("docs/guides/plugins.md", ""): (PLUGINS, "plugins.md"),
    ("docs/guides/python.md", ""): ("tests/inference/test_library.py", "python.md"),
    ("docs/guides/resume.md", "vsr train resume="): ("tests/training/resume/test_resume.py", "resume="),
    ("docs/guides/resume.md", "python -m tests.kills"): ("tests/training/resume/test_resume.py", "tests.kills"),
    ("docs/guides/scaling.md", "docs/guides/slurm/train.sh"): (
        "tests/training/test_distributed.py",
        "docs/guides/slurm/train.sh",
    ),
    ("docs/guides/scaling.md", "export "): ("tests/training/test_distributed.py", "SLURM_NNODES"),
}
PROGRAMS = "vsr|python|make|pip|torchrun|sbatch|srun|docker|tensorboard|sha256sum"
COMMAND = re.compile(rf"(?:\$ )?(?:{PROGRAMS}|export) |\(ulimit|\S+\.sh |vsr\.\w+\(|\S+python -m ")
PYTHON = re.compile(r"\w+ = |\w+(\.\w+)+\(")
PIECE = re.compile(r"^```([^\n]*)\n(.*?)^```$|`([^`]+)`", re.M | re.S)
NEEDS = re.compile(r"#.*?\bneeds ([^;#\n]+)")
# What a reader may be told that a command needs.
NEEDED = re.compile(r"Slurm|Docker|a GPU|machines|a server|an account|npm|hours|files? of|a store|package openvino")
# A form shows what a command looks like, and is no command.
FORM = re.compile(r"\.\.\.|\b(NAME|KEY=VALUE|RUN|HOST:\S+)\b|<\w+>|\w=[MNS]\b")


@dataclass(frozen=True)
class Piece:
    """A command or a snippet of a page.

    Attributes:
        kind: "shell", "python", or "inline" for a command in a sentence.
        text: the line or the snippet.
        needs: what its page says that it needs; None for what is run here.
        fails: whether the page shows an error as its output.
    """

    kind: str
    text: str
    needs: str | None = None
    fails: bool = False


def pieces(page: str) -> list[Piece]:
    """Everything on a page that a reader may type, in order."""
    found: list[Piece] = []
    for language, block, span in PIECE.findall(PAGES[page].read_text(encoding="utf-8")):
        if span:
            line = " ".join(span.split())
            if re.match(rf"(?:{PROGRAMS}) \S", line) and not re.fullmatch(r"(vsr|pip) \w+|python \w+\.py", line):
                found.append(Piece("inline", replaced(page, line)))
        elif language == "python":
            said = NEEDS.match(block)
            found.append(Piece("python", block, said[1] if said else None))
        elif language in ("", "bash"):
            found += shell_pieces(page, block)
    return found


def shell_pieces(page: str, block: str) -> Iterator[Piece]:
    """The lines of a block of commands; in one with prompts, the lines behind them."""
    lines = [line for line in block.replace("\\\n", " ").splitlines() if line.strip()]
    prompts = any(line.startswith("$ ") for line in lines)
    if not prompts and not any(COMMAND.match(line) for line in lines):
        return
    needs = None
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        said = NEEDS.search(line)
        if line.startswith("#") and not prompts:
            needs = said[1] if said else needs
        elif line.startswith("$ ") or not prompts:
            text = replaced(page, line.removeprefix("$ "))
            kind = "python" if PYTHON.match(text) else "shell"
            yield Piece(kind, text, said[1] if said else needs, following.startswith("error: "))


def replaced(page: str, line: str) -> str:
    """Put names of files in the place of words such as FILE."""
    for name, value in REPLACED.get(page, {}).items():
        line = line.replace(name, value)
    return line


REPLACED: dict[str, dict[str, str]] = {
    "docs/guides/archives.md": {"/shared/in.zarr": "in.zarr", "/shared/fine.zarr workers=8": "shared.zarr workers=2"},
    "docs/guides/earth-fields.md": {"data.path=FILE": "data.path=field.nc"},
    "docs/guides/presets.md": {"data.path=FOLDER": "data.path=clip.mp4", "KEY=VALUE ...": "model=fsrcnn"},
    "docs/guides/scaling.md": {"trainer.devices=N": "trainer.devices=2"},
    "docs/guides/sweeps.md": {"runs/sweeps/NAME": "runs/sweeps/model_srcnn+fsrcnn_seed*"},
    "docs/guides/transfer.md": {"recipe.residual=none ...": "recipe.residual=none", "model=M scale=S": "model=fsrcnn_s scale=2"},
    "docs/guides/uncertainty.md": {"=ENSEMBLE": "=ensemble.ckpt"},
    "docs/results/report.md": {"data.path=FILE": "data.path=clip.mp4 data.size=48"},
    "docs/reference/security.md": {"inspect FILE": "inspect field.nc"},
}
TWELVE = ["data.size=32", "data.learn=100"]  # trajectories, two of them for validation
ENSEMBLE = ["model=stacked", *(f"model.{size}" for size in SMALL["stacked"]), "scale=4", "data.size=32", "members=2"]
LUMA = ["model=fsrcnn_s", "data=movies", "data.path=clip.mp4"]
# By page: files beside those of `FILES`, as a function that writes them or as the keys of the run whose checkpoint they are.
OWN_FILES: dict[str, dict[str, Callable[[Path], Any] | list[str]]] = {
    "README.md": {
        "runs/fsrcnn-climate/": ["model=fsrcnn"],
        "coarse.nc": lambda path: write_pair_side(path, 8, ("h",)),
        "fine.nc": lambda path: write_pair_side(path, 32, ("h",)),
    },
    "docs/guides/evaluate.md": {
        "A.ckpt": ["model=fsrcnn", *TWELVE],
        "B.ckpt": ["model=plain", *TWELVE],
        "C.ckpt": ["model=fsrcnn", "seed=1", *TWELVE],
        "results.json": lambda path: copy_oldest(path.parent, path.name, "frames.csv"),
        "video.ckpt": ["model=fsrcnn_s", "data=movies", "data.path=clip.mp4"],
    },
    "docs/guides/export.md": {
        "runs/fsrcnn/checkpoints/best.ckpt": ["model=fsrcnn"],
        "runs/srnet3d/checkpoints/best.ckpt": ["model=srnet3d"],
    },
    "docs/guides/transfer.md": {"runs/tuned/checkpoints/best.ckpt": ["model=fsrcnn_s"]},
    "docs/guides/resume.md": {"best.ckpt.sha256": lambda path: copy_oldest(path.parent, "best.ckpt", path.name)},
    "docs/guides/sweeps.md": {"runs/fsrcnn-climate/": ["model=fsrcnn"]},
    "docs/guides/pairs.md": {
        "coarse.nc": lambda path: write_pair_side(path, 8, runs=12),
        "fine.nc": lambda path: write_pair_side(path, 32, runs=12),
        "coarse_new.nc": lambda path: write_pair_side(path, 8, runs=1),
    },
    "docs/guides/uncertainty.md": {
        **{"coarse.nc": write_netcdf, "best.ckpt": ENSEMBLE[:-1], "BEST.ckpt": ENSEMBLE[:-1], "ensemble.ckpt": ENSEMBLE},
        "calibration.json": lambda path: copy_oldest(path.parent, path.name),
    },
    "docs/guides/upscale.md": {"luma.ckpt": LUMA},
    "docs/guides/your-data.md": {
        "coarse.nc": lambda path: write_pair_side(path, 8),
        "fine.nc": lambda path: write_pair_side(path, 32),
    },
    "docs/reference/performance.md": {"best.ckpt": LUMA},
}


def copy_oldest(folder: Path, *names: str) -> None:
    """Copy files of the first run that has them to the working directory."""
    first = min(folder.glob(f"runs/**/{names[0]}"), key=lambda each: each.stat().st_mtime)
    for name in names:
        shutil.copy(first.with_name(name), folder)


# What snippets of Python take for granted.
KNOWN = {
    **{"vsr": vsr, "np": np, "json": json, "xarray": xarray},
    **{
        "movie": waves(6, 24, 36),
        "lr": waves(6, 24, 36),
        "frames": waves(2, 12, 18)[:, None],
        "clip": waves(6, 12, 18)[None, None],
    },
    "dataset": xarray.Dataset({"h": (("time", "lat", "lon"), waves(6, 24, 36))}),
}


class Reader:
    """Someone who types what a page says, in an empty folder.

    Args:
        page: the name of the page.
        folder: the working directory.
        warm: the process that runs the commands.
        trained: checkpoints that pages take for granted.
    """

    def __init__(self, page: str, folder: Path, warm: Warm, trained: Trained) -> None:
        self.page, self.folder, self.warm, self.trained = page, folder, warm, trained
        self.names: dict[str, Any] = dict(KNOWN)  # of the snippets of Python so far

    def type(self, piece: Piece) -> None:
        """Run a piece, and fail the test unless it ends as the page says."""
        self.provide(piece.text)
        if piece.kind == "python":
            self.run_python(piece.text)
            return
        words = self.expanded(piece.text)
        program, *rest = words
        if words[:2] == ["python", "-m"] and words[2].startswith("benchmarks."):
            self.check_options(words[2], rest[2:])
        elif program == "pip":
            assert_extras_exist(rest)
        elif program == "make":
            rest = [os.path.expandvars(each) for each in rest]
            run_process(["make", "--dry-run", *rest], cwd=ROOT, check=True, capture_output=True, text=True)
        elif words[:2] in (["python", "-c"], ["python", "-X"]):
            again = ["overwrite=true"] if "upscale" in rest else []
            self.run_shell(shlex.join([sys.executable, *rest, *again]))
        elif program == "sha256sum" or program.startswith("("):
            self.run_shell(f'vsr() {{ "{sys.executable}" -m vsr "$@"; }}; {piece.text}')
        else:
            name, arguments = self.script(words)
            if name == "train":  # runs are named by the second
                second = int(time.time())
                while int(time.time()) == second:
                    time.sleep(0.02)
            done = self.warm.run(self.folder, name, *arguments, limit=250, figure=False)
            said = f"{piece.text}\n(typed: {shlex.join([name, *arguments])})\n{done.stdout}{done.stderr}"
            assert done.status == (1 if piece.fails else 0), said
            assert "Traceback" not in done.stderr, said

    def run_shell(self, line: str) -> None:
        """Run a line in bash."""
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        done = run_process(["bash", "-c", line], cwd=self.folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"

    def check_options(self, name: str, arguments: list[str]) -> None:
        """Check that a benchmark, which takes minutes to hours, takes these options: it refuses one more, and that one alone."""
        unknown = "nosuch=1" if any("=" in each and not each.startswith("-") for each in arguments) else "--nosuch"
        done = self.warm.run(self.folder, name, *arguments, unknown, limit=60)
        assert done.status, name
        assert re.search(f"unrecognized arguments: {unknown}$|nosuch: unknown key", done.stderr.strip()), done.stderr

    def script(self, words: list[str]) -> tuple[str, list[str]]:
        """The script and its arguments, with a training made short."""
        if words[0] == "vsr":
            command, *arguments = words[1:]
        elif words[:3] == ["python", "-m", "vsr"]:
            command, *arguments = words[3:]
        else:
            assert words[0] == "python", words
            assert words[1] in ("train.py", "evaluate.py", "upscale.py"), words
            command, *arguments = [words[1].removesuffix(".py"), *words[2:]]
        if command == "train" and "--help" not in arguments and not any(each.startswith("resume=runs") for each in arguments):
            arguments = [*arguments, *short(arguments)]
        if command == "upscale" and arguments[0] != "status" and not any(each.startswith("workers=") for each in arguments):
            arguments = [*arguments, "overwrite=true"]
        if command in ("evaluate", "budget"):
            small = ["recipe.patch=6"] if command == "budget" else []
            arguments = [*arguments, *small, *generated(arguments, none=["climate"] if small else [])]
        return "vsr", [command, *arguments]

    def expanded(self, line: str) -> list[str]:
        """The words of a line, with patterns as the shell expands them and the newest folder for `...` and DATE."""
        words = []
        for word in shlex.split(line, comments=True):
            key, equals, path = word.rpartition("=")
            pattern = path.replace("runs/.../", "runs/**/").replace("/DATE", "/*")
            if pattern != path:
                found = max(self.folder.glob(pattern), key=lambda each: each.stat().st_mtime)
                word = f"{key}{equals}{found.relative_to(self.folder)}"
            elif "*" in word and f"'{word}'" not in line:
                words += [str(each.relative_to(self.folder)) for each in sorted(self.folder.glob(word))]
                continue
            words.append(word)
        return words

    def provide(self, text: str) -> None:
        """Make the files that a text names and that are not there."""
        own = OWN_FILES.get(self.page, {})
        for name in [*own, *FILES, *(f"{each}.ckpt" for each in ("A", "B", "C", "BEST", "best", "TIDE"))]:
            path = self.folder / name
            if path.exists() or not re.search(rf"(?<![\w.:/*-]){re.escape(name)}", text):
                continue
            maker = own.get(name, FILES.get(name, ["model=fsrcnn"]))
            if callable(maker):
                if "*" not in name or not list(self.folder.glob(name)):
                    maker(path)
                continue
            self.provide(" ".join(maker))
            keys = [each.replace("clip.mp4", str(self.folder / "clip.mp4")) for each in maker]
            if name.endswith("/"):
                for seed in (0, 1):
                    self.trained.copy_run(path / str(seed), *keys, f"seed={seed}")
            else:
                self.trained.copy_checkpoint(path, *keys)

    def run_python(self, code: str) -> None:
        """Run a snippet; one with prompts must print what the page shows."""
        if ">>>" in code:
            test = doctest.DocTestParser().get_doctest(code, self.names, self.page, None, 0)
            said: list[str] = []
            assert doctest.DocTestRunner().run(test, out=said.append, clear_globs=False).failed == 0, "".join(said)
            self.names |= test.globs
        else:
            exec(compile(code, self.page, "exec"), self.names)


def short(arguments: list[str]) -> list[str]:
    """The keys that make a training take seconds."""
    keys = [each for each in SHORT if not (each == "epochs=1" and "epochs=0" in arguments)]
    model = next((each.removeprefix("model=") for each in arguments if each.startswith("model=")), None)
    if model is None and {"preset=balanced", "preset=best"} & set(arguments):
        model = "stacked"
    sizes = [f"model.{size}" for size in SMALL.get(model or "", [])]
    trials = [f"{each.partition('=')[0]}.trials=2" for each in arguments if each.startswith("hparams_search=")]
    return ["budget=null", *keys, *sizes, *trials, *generated(arguments, none=["climate"])]


def generated(arguments: list[str], none: list[str]) -> list[str]:
    """The keys that make generated data small; `none` are the data that are taken when none are typed."""
    typed = [each.removeprefix("data=").split(",") for each in arguments if each.startswith("data=")]
    typed += [[EXPERIMENTS[name]] for name in EXPERIMENTS if f"experiment={name}" in arguments]
    if any(each.startswith("data.path=") for each in arguments):
        return []
    keys = {each.partition("=")[0]: each for name in (typed[0] if typed else none) for each in GENERATED.get(name, [])}
    if "scale=4" in arguments:
        keys |= {"data.size": "data.size=32"} if "data.size" in keys else {}
    return [each for key, each in keys.items() if not any(other.startswith(f"{key}=") for other in arguments)]


def assert_extras_exist(arguments: list[str]) -> None:
    """Check that `pip install` names extras of the package."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for named in re.findall(r"vsr-movies\[([\w,]+)\]", " ".join(arguments)):
        assert set(named.split(",")) <= set(extras), named


# Commands in sentences that are not run, by how they begin, and why; their pages say the same around them.
NOT_RUN = {
    "tensorboard": "starts a server",
    "python -m http.server": "starts a server",
    "vsr train strategy=gpu": "needs a GPU",
    "vsr train strategy=ddp$": "needs several GPUs",
    "torchrun --nnodes=2": "needs two machines",
    "torchrun --nproc_per_node=4": "needs four GPUs",
    "sbatch": "needs Slurm",
    "srun vsr train": "is said to be refused",
    ".venv/bin/python -m pytest": "runs these tests",
    "vsr evaluate calibrate=true": "names a key",
    "vsr evaluate consistency=none": "names a key",
    "vsr upscale engine=onnxruntime": "names a key",
    "vsr upscale workers=N": "names a key",
    "vsr export format=safetensors": "names a key",
}


@pytest.fixture(scope="module")
def trained(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return Trained(warm, tmp_path_factory.mktemp("trained"))


def fate(page: str, piece: Piece) -> str:
    """Return "run", or why a piece is not run here."""
    if piece.needs is not None:
        return f"needs {piece.needs}"
    for (other, beginning), (module, _) in ELSEWHERE.items():
        if page == other and piece.text.startswith(beginning):
            return module
    if RECORDS.match(page):
        return "record"
    if piece.kind != "python":
        for beginning, why in NOT_RUN.items():
            if re.match(beginning, piece.text):
                return why
        if piece.kind == "inline" and FORM.search(piece.text.replace("runs/.../", "")):
            return "form"
    return "run"


PIECES = [(page, piece) for page in PAGES for piece in pieces(page)]


# Pages of which `make test` runs what takes seconds; `make test-all` runs all of every page.
QUICK = ("README.md", "docs/guides/upscale.md", "docs/guides/out-of-distribution.md")
SLOW = re.compile(r" -m |workers=|engine=|jobs=|python -m|experiment=")


def of(page: str) -> list[Piece]:
    """The pieces of a page that are run here."""
    return [piece for name, piece in PIECES if name == page and fate(name, piece) == "run"]


@pytest.mark.parametrize(
    ("page", "everything"),
    [
        *((page, False) for page in QUICK),
        *(pytest.param(page, True, marks=pytest.mark.long) for page in PAGES if of(page)),
    ],
)
@pytest.mark.timeout(900)
def test_the_commands_of_a_page_run(
    page: str, everything: bool, tmp_path: Path, warm: Warm, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    reader = Reader(page, tmp_path, warm, trained)
    for piece in of(page):
        if everything or piece.kind == "python" or not SLOW.search(piece.text):
            reader.type(piece)


@pytest.mark.parametrize("page", PAGES)
def test_each_command_is_run_or_says_what_it_needs(page: str) -> None:
    for piece in pieces(page):
        why = fate(page, piece)
        if piece.needs is not None:
            assert NEEDED.search(piece.needs), f"{piece.text}: needs {piece.needs}?"
        assert why != "form" or piece.kind == "inline", piece.text


def test_no_exception_outlives_its_command() -> None:
    assert not [module for module, said in ELSEWHERE.values() if said not in (ROOT / module).read_text(encoding="utf-8")]
    assert {
        key for key in ELSEWHERE if not any(page == key[0] and piece.text.startswith(key[1]) for page, piece in PIECES)
    } == set()
    assert not [key for key in NOT_RUN if not any(re.match(key, piece.text) for _, piece in PIECES)]
    texts = {page: path.read_text(encoding="utf-8") for page, path in PAGES.items()}
    assert not [(page, word) for page, words in REPLACED.items() for word in words if word not in " ".join(texts[page].split())]
    assert not [(page, name) for page, names in OWN_FILES.items() for name in names if name not in texts[page]]
    assert sum(fate(*each) == "run" for each in PIECES) > 150


# Reasons that a command cannot be composed where its files and packages are missing.
MISSING = re.compile(r"no such file|needs the package|no package of this name|no such folder|no GPU|type weights=")


@pytest.mark.parametrize("page", [page for page in PAGES if not RECORDS.match(page)])
@pytest.mark.sampled(24)
def test_the_commands_of_a_page_compose_as_they_are_typed(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for piece in pieces(page):
        command = re.match(r"vsr (train|evaluate|upscale) (?!status|-?-help)(.*)", piece.text)
        if piece.kind == "python" or command is None or "$" in piece.text or "..." in piece.text or "--help" in piece.text:
            continue
        typed = shlex.split(command[2], comments=True)
        if fate(page, piece) in ("form", "names a key") or any(each.startswith("resume=") for each in typed):
            continue
        composer = Composer(CONF.parent / f"{command[1]}.py", CONF)
        try:
            _, rest = split_plugin_folder(options_before_overrides(command[1], take_plugins(typed)))
            if "-m" in rest:
                composer.whole(composer.read(rest))
            else:
                composer.config(_quote_paths(rest, several=command[1] == "evaluate"))
        except UserError as error:
            own = "no such config" in str(error) and ("plugins=" in piece.text or "model=mynet" in piece.text)
            assert own or MISSING.search(str(error)), f"{piece.text}: {error}"
