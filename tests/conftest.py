"""Fixtures that most tests share."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.fakes import moving_pattern, write_y4m
from tests.processes import STARTED, end_processes
from tests.warm import Warm
from vsr.config import plugins
from vsr.io.readers.isolated import parent as isolated

# A shell ignores Ctrl-C in what it starts in the background, and processes hand that on to those that they start; the tests of
# interruptions need it as it is in a terminal.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples in each automatic run; by hand, new ones each time.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the cases of a sampled(n) test long, except n evenly spread ones, which `make test` runs."""
    groups: dict[tuple[object, ...], list[pytest.Item]] = {}
    for item in items:
        mark = item.get_closest_marker("sampled")
        if mark is not None and item.get_closest_marker("long") is None:
            groups.setdefault((item.path, getattr(item, "originalname", item.name), mark.args[0]), []).append(item)
    for (*_, count), cases in groups.items():
        kept = {len(cases) * k // count for k in range(count)}  # type: ignore[operator, call-overload]
        for number, item in enumerate(cases):
            if number not in kept:
                item.add_marker(pytest.mark.long)


Script = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generated climate data go to a folder of the test session, shared by its workers and by processes that they start."""
    folder = tmp_path_factory.getbasetemp()
    folder = (folder.parent if os.environ.get("PYTEST_XDIST_WORKER") else folder) / "climate-cache"
    os.environ["VSR_CACHE"] = str(folder)
    return folder


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Two test workers on two cores."""
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    """End the processes that a test started, however the test ends; those of fixtures with a wider scope go on."""
    before = list(STARTED)
    yield
    end_processes(before)


@pytest.fixture(autouse=True)
def no_plugin_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Close the plugins that a test opens in this process."""
    for name, none in {"_opened": {}, "_typed": [], "_config_folders": {}}.items():
        monkeypatch.setattr(plugins, name, none)


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], None]]:
    """Have a module that is not installed, here and where files are parsed."""

    def hide(module: str) -> None:
        folder = tmp_path_factory.mktemp("without")
        (folder / f"{module}.py").write_text(f"raise ImportError('not here', name={module!r})")
        monkeypatch.setitem(sys.modules, module, None)
        monkeypatch.syspath_prepend(str(folder))
        isolated.stop_isolated_child()

    yield hide
    isolated.stop_isolated_child()


@pytest.fixture(scope="session")
def warm(cache: Path) -> Iterator[Warm]:
    """Run commands in forks of a process that has imported everything."""
    process = Warm()
    yield process
    process.close()


@pytest.fixture
def script(warm: Warm, tmp_path: Path) -> Script:
    """Run train.py, evaluate.py, upscale.py or a command of vsr as a user would, in an empty folder."""

    def run(name: str, *arguments: str, figure: bool = False, **environment: str) -> subprocess.CompletedProcess[str]:
        done = warm.run(tmp_path, name, *arguments, limit=200, figure=figure, **environment)
        assert done.status is not None, f"{name} {arguments} hangs:\n{done.stdout}{done.stderr}"
        return subprocess.CompletedProcess([name, *arguments], done.status, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def movie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A y4m of 20 frames of 32x48."""
    return write_y4m(tmp_path_factory.mktemp("movie") / "movie.y4m", moving_pattern(20))
