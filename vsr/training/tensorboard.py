"""TensorBoard logger that lets the run continue if the disk is full."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from lightning.pytorch.loggers import TensorBoardLogger

log = logging.getLogger(__name__)


class Dashboard(TensorBoardLogger):
    """TensorBoard logger that stops its curves, and not the run, if the event files cannot be written.

    The history in results.json holds the same numbers as the curves. A resumed run writes another event file, which tells
    TensorBoard to forget the points from `purge_step` on.

    Args:
        save_dir: The folder of the event files.
        name: Subfolder of `save_dir`; empty for none.
        version: Subfolder of `name`; empty for none.
        purge_step: The first step to be logged if the folder may hold earlier event files; None for a new folder.
    """

    def __init__(self, *, save_dir: str = ".", name: str = "", version: str = "", purge_step: int | None = None) -> None:
        super().__init__(save_dir, name=name, version=version, purge_step=purge_step)
        self.failed = False

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Turn the first error of a write inside the block into a warning, and ignore later ones."""
        print_traceback = threading.excepthook
        # The thread that writes event files also raises its error here; its own traceback would be printed a second time.
        threading.excepthook = lambda failed: None if isinstance(failed.exc_value, OSError) else print_traceback(failed)
        try:
            yield
        except (OSError, ValueError) as error:
            cause = error if isinstance(error, OSError) else error.__cause__  # Lightning wraps an OSError in a ValueError
            if not isinstance(cause, OSError):
                raise
            if not self.failed:
                log.warning("TensorBoard: cannot be written (%s); the run goes on, its curves end here", cause)
            self.failed = True
        finally:
            threading.excepthook = print_traceback

    @property
    def experiment(self) -> Any:
        """Return the SummaryWriter, whose methods do nothing after the first write error."""
        writer = None
        with self._guarded():
            writer = None if self.failed else super().experiment
        return _GuardedWriter(writer, self)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        with self._guarded():
            super().log_metrics(metrics, step)

    def log_hyperparams(self, *arguments: Any, **options: Any) -> None:
        with self._guarded():
            super().log_hyperparams(*arguments, **options)

    def save(self) -> None:
        with self._guarded():
            if not self.failed:
                super().save()

    def finalize(self, status: str) -> None:
        with self._guarded():
            super().finalize(status)


class _GuardedWriter:
    """SummaryWriter whose methods never raise write errors; with the writer None, they do nothing."""

    def __init__(self, writer: Any, logger: Dashboard) -> None:
        self._writer, self._logger = writer, logger

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            if self._writer is not None:
                with self._logger._guarded():
                    return getattr(self._writer, name)(*arguments, **options)
            return _GuardedWriter(None, self._logger)  # Lightning calls methods of returned objects

        return call
