"""TensorBoard that a run can do without."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from lightning.pytorch.loggers import TensorBoardLogger

log = logging.getLogger(__name__)


class Dashboard(TensorBoardLogger):
    """Lightning's TensorBoard logger, except that a full disk ends the curves and not the run.

    The history in results.json holds what the curves show; hours of training cannot be had again so easily. A continued run
    writes a further event file, which tells TensorBoard to forget the points from `purge_step` on: they come again.

    Args:
        save_dir: where the event files go. name, version: folders below it, none when empty.
        purge_step: of a continued run, its first step; None for a new run.
    """

    def __init__(self, *, save_dir: str = ".", name: str = "", version: str = "", purge_step: int | None = None) -> None:
        super().__init__(save_dir, name=name, version=version, purge_step=purge_step)
        self.failed = False

    @property
    def experiment(self) -> Any:
        """The SummaryWriter; from the first failure on its methods do nothing."""
        found = None
        with self.guarded():
            found = None if self.failed else super().experiment
        return _Guarded(found, self)

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Turn the first failure to write into a warning."""
        with _quiet_threads():
            try:
                yield
            except (OSError, ValueError) as error:
                cause = error if isinstance(error, OSError) else error.__cause__  # Lightning wraps what fails in its own
                if not isinstance(cause, OSError):
                    raise
                if not self.failed:
                    log.warning("TensorBoard: cannot be written (%s); the run goes on, its curves end here", cause)
                self.failed = True

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        with self.guarded():
            super().log_metrics(metrics, step)

    def log_hyperparams(self, *arguments: Any, **options: Any) -> None:
        with self.guarded():
            super().log_hyperparams(*arguments, **options)

    def save(self) -> None:
        if not self.failed:
            with self.guarded():
                super().save()

    def finalize(self, status: str) -> None:
        with self.guarded():
            super().finalize(status)


class _Guarded:
    """A SummaryWriter, or nothing, whose methods do not fail."""

    def __init__(self, writer: Any, dashboard: Dashboard) -> None:
        self._writer, self._dashboard = writer, dashboard

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            if self._writer is not None:
                with self._dashboard.guarded():
                    return getattr(self._writer, name)(*arguments, **options)
            return _Guarded(None, self._dashboard)  # Lightning calls methods of what a method gives

        return call


@contextmanager
def _quiet_threads() -> Iterator[None]:
    """The thread that writes event files prints a traceback when it ends with an error, which it also hands to its caller."""
    before = threading.excepthook

    def quiet(arguments: threading.ExceptHookArgs) -> None:
        if not isinstance(arguments.exc_value, OSError):
            before(arguments)

    threading.excepthook = quiet
    try:
        yield
    finally:
        threading.excepthook = before
