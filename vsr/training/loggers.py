"""Loggers of training curves: TensorBoard, CSV, Weights & Biases and MLflow; all continue with a resumed run."""

from __future__ import annotations

import csv
import logging
import os
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, MLFlowLogger, TensorBoardLogger, WandbLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from torch.utils.tensorboard.summary import hparams

from vsr.system.files import writing_file
from vsr.system.ranks import current_rank

log = logging.getLogger(__name__)

# Loggers that report to a service: of no use for a fit that is only timed.
SERVICES = ("vsr.training.loggers.WandB", "vsr.training.loggers.MLflow")


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

    def log_hyperparams(  # type: ignore[override]
        self, params: dict[str, Any], metrics: Mapping[str, float] | None = None, step: int | None = None
    ) -> None:
        """Write settings and scores to the tab HPARAMS, which lists the settings that differ among runs first.

        It can only do so if no run declares the settings of all runs, as Lightning's method would.

        Args:
            params: Settings, plain values by name.
            metrics: Scores at the end of the run.
            step: The step of the scores.
        """
        self.log_metrics(metrics or {}, step)
        _, begun, ended = hparams(self._sanitize_params(params), {})
        with self._guarded():
            writer = self.experiment._get_file_writer()
            writer.add_summary(begun, step)
            writer.add_summary(ended, step)

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


class CSV(CSVLogger):
    """Logger that writes metrics.csv, one row per step or epoch. A resumed run drops the rows from its first step on.

    Args:
        save_dir: The folder of the file.
        name: Subfolder of `save_dir`; empty for none.
        version: Subfolder of `name`; empty for none.
        purge_step: The first step to be logged if the folder may hold an earlier file; None for a new folder.
    """

    def __init__(self, *, save_dir: str = ".", name: str = "", version: str = "", purge_step: int | None = None) -> None:
        super().__init__(save_dir, name=name, version=version)
        self.first_step = purge_step or 0
        self.failed = False

    @property
    def experiment(self) -> Any:
        """Return the writer of the file."""
        if self._experiment is None:
            self._experiment = _RowWriter(self.log_dir, self.first_step)
        return self._experiment

    def save(self) -> None:
        """Write the new rows. The first error of a write becomes a warning, and the run continues without the file."""
        try:
            if not self.failed:
                super().save()
        except OSError as error:
            log.warning("metrics.csv: cannot be written (%s); the run goes on, the file ends here", error)
            self.failed = True


class _RowWriter(ExperimentWriter):
    """Writer of metrics.csv that keeps the rows before a step."""

    def __init__(self, log_dir: str, first_step: int) -> None:
        self.first_step = first_step
        self.earlier_keys: list[str] = []
        super().__init__(log_dir)
        self.metrics_keys = self.earlier_keys

    def _check_log_dir_exists(self) -> None:
        path = Path(self.metrics_file_path)
        if not path.exists():
            return
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            self.earlier_keys = list(reader.fieldnames or [])
            kept = [row for row in reader if (row.get("step") or "").isdigit() and int(row["step"]) < self.first_step]
        with writing_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.earlier_keys)
            writer.writeheader()
            writer.writerows(kept)


class WandB(WandbLogger):
    """Logger to Weights & Biases. A resumed run continues the same run there, whose id lies in wandb_run.txt.

    Args:
        save_dir: The folder of the run and of offline files.
        purge_step: The first step to be logged; above 0 for a resumed run.
        project: Project of the run.
        entity: User or team; None for the default of the account.
        offline: True to write to `save_dir` and to upload nothing; `wandb sync` uploads such a run later.
        tags: Labels of the run.
    """

    def __init__(
        self,
        *,
        save_dir: str = ".",
        purge_step: int | None = None,
        project: str = "vsr",
        entity: str | None = None,
        offline: bool = False,
        tags: tuple[str, ...] = (),
    ) -> None:
        import wandb

        if current_rank() == 0 and wandb.run is not None:
            wandb.finish()  # the run of an earlier stage, which this one would continue otherwise
        folder = Path(save_dir)
        identity = _kept_id(folder / "wandb_run.txt", purge_step) or uuid.uuid4().hex[:8]
        _keep_id(folder / "wandb_run.txt", identity)
        super().__init__(
            name=folder.resolve().name,
            save_dir=save_dir,
            version=identity,
            offline=offline,
            project=project,
            entity=entity,
            tags=list(tags),
        )


class MLflow(MLFlowLogger):
    """Logger to MLflow. A resumed run continues the same run there, whose id lies in mlflow_run.txt.

    Args:
        save_dir: The folder of the run.
        purge_step: The first step to be logged; above 0 for a resumed run.
        experiment: Experiment of the run.
        uri: Address of the tracking server; None for MLFLOW_TRACKING_URI, or else for mlflow.db in the working directory.
    """

    def __init__(
        self,
        *,
        save_dir: str = ".",
        purge_step: int | None = None,
        experiment: str = "vsr",
        uri: str | None = None,
    ) -> None:
        folder = Path(save_dir)
        self.id_file = folder / "mlflow_run.txt"
        super().__init__(
            experiment_name=experiment,
            run_name=folder.resolve().name,
            tracking_uri=uri or os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db",
            run_id=_kept_id(self.id_file, purge_step),
        )

    @property
    def experiment(self) -> Any:
        """Return MLflow's client, after the run exists there."""
        known = self._initialized
        client = super().experiment
        if not known and self._run_id is not None:
            _keep_id(self.id_file, self._run_id)
        return client


def _kept_id(path: Path, first_step: int | None) -> str | None:
    """Return the id of the run that is resumed; None for a new run."""
    return path.read_text(encoding="utf-8").strip() if first_step and path.is_file() else None


def _keep_id(path: Path, identity: str) -> None:
    if current_rank() == 0:
        path.parent.mkdir(parents=True, exist_ok=True)
        with writing_file(path) as temporary:
            temporary.write_text(identity + "\n", encoding="utf-8")
