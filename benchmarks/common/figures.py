"""Configs for figures, and saving a figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from matplotlib.figure import Figure
from omegaconf import DictConfig

from benchmarks.common.runs import ROOT
from vsr.config.schema import register_schemas
from vsr.errors import UserError
from vsr.system.files import replacing_file


def compose_train_config(overrides: Sequence[str]) -> DictConfig:
    """Compose a config of train.py without running it."""
    register_schemas()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("train", [*overrides, "name=figure"])


def save_figure(figure: Figure, path: Path, dpi: int = 100) -> None:
    """Save a figure as PNG, atomically and reproducibly. Raises UserError with the path if it cannot be written."""
    try:
        with replacing_file(path) as temporary:
            figure.savefig(temporary, dpi=dpi, format="png", metadata={"Software": None})
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); type page=FILE to write elsewhere") from error
